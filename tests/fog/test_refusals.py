"""What is refused over the wire: with which status, delay and reason."""

import queue
import threading

import grpc
import numpy as np
import pytest

from headtail.oip import read_stream_response

X = np.zeros((1, 16, 2), np.float32)


def refused(fog, reason: str) -> float:
    """Return how many windows were refused for a reason."""
    return fog.metrics.registry.get_sample_value("fog_refused_windows_total", {"reason": reason})


def test_window_that_lay_unread_past_its_deadline_is_refused_with_a_delay(start_fog, connect):
    """The stream is behind: its agent is told by how much, and nothing is run."""
    fog = start_fog()
    client = connect(fog)
    frames = [
        client.request("chain", {"x": X}, request_id=str(n), deadline_ms=20_000, sent_ms=sent_ms)
        for n, sent_ms in enumerate([5_000_000, 4_000_000, 5_000_000])
    ]
    fresh, stale, again = client.stream_in_turn(frames)
    assert (fresh.error, again.error) == ("", "")
    assert stale.parameters["status"] == "RESOURCE_EXHAUSTED"
    assert 1_000_000 <= stale.parameters["retry_delay_ms"] <= 1_020_000
    assert "with 20000 ms to live" in stale.error
    assert refused(fog, "backlog") == 1.0


def test_rate_is_per_agent_and_costs_nothing_when_refused_otherwise(start_fog, connect):
    """One agent is over its rate; another is not; the refusals are counted by reason."""
    fog = start_fog(quota={"windows_per_s": 0.01, "burst": 2})
    client = connect(fog)
    frames = [client.request("chain", {"x": X}, agent=a) for a in ["a", "a", "a", "b"]]
    answers = client.stream_in_turn(frames)
    assert ["", "", "RESOURCE_EXHAUSTED", ""] == [a.parameters.get("status", "") for a in answers]
    assert answers[2].parameters["retry_delay_ms"] > 90_000
    (expired,) = client.stream([client.request("chain", {"x": X}, agent="c", deadline_ms=0)])
    assert expired.parameters["status"] == "DEADLINE_EXCEEDED"
    again = client.stream([client.request("chain", {"x": X}, agent="c")] * 2)
    assert [a.error for a in again] == ["", ""]
    assert (refused(fog, "rate"), refused(fog, "expired_on_way")) == (1.0, 1.0)


def test_quota_refusal_of_a_unary_call_is_its_status(start_fog, connect):
    """The delay rides in the trailing metadata."""
    fog = start_fog(quota={"windows_per_day": 1})
    client = connect(fog)
    client.infer("chain", {"x": X}, agent="a")
    with pytest.raises(grpc.RpcError) as error:
        client.infer("chain", {"x": X}, agent="a")
    assert error.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert int(dict(error.value.trailing_metadata())["retry_delay_ms"]) > 80_000_000
    assert refused(fog, "quota") == 1.0


def test_agent_with_too_many_streams_is_told_and_the_stream_ends(start_fog, connect):
    """Its others go on, and so do those of other agents."""
    fog = start_fog(quota={"streams": 1})
    client = connect(fog)
    frames = queue.SimpleQueue()
    first = client.open_stream(iter(frames.get, None), timeout=20)
    frames.put(client.request("chain", {"x": X}, agent="a"))
    assert read_stream_response(next(first)).error == ""
    (answer,) = client.stream([client.request("chain", {"x": X}, agent="a")] * 2)
    assert answer.parameters["status"] == "RESOURCE_EXHAUSTED"
    assert "1 streams of 'a' are open" in answer.error
    assert len(client.stream([client.request("chain", {"x": X}, agent="b")] * 2)) == 2
    frames.put(client.request("chain", {"x": X}, agent="a"))
    assert read_stream_response(next(first)).error == ""
    frames.put(None)
    assert list(first) == []
    value = fog.metrics.registry.get_sample_value
    assert value("fog_refused_streams_total", {"reason": "agent_streams"}) == 1.0


def test_refused_window_says_that_the_server_drains(start_fog, connect, wait_until):
    """An agent whose every window is refused has to learn it as well."""
    fog = start_fog(quota={"windows_per_s": 0.01}, wire={"settle_s": 20.0})
    client = connect(fog)
    frames = queue.SimpleQueue()
    answers = client.open_stream(iter(frames.get, None), timeout=20)
    frames.put(client.request("chain", {"x": X}))
    assert "draining" not in read_stream_response(next(answers)).parameters
    drain = threading.Thread(target=fog.drain)
    drain.start()
    wait_until(lambda: fog.check_ready() is not None)
    frames.put(client.request("chain", {"x": X}))
    refusal = read_stream_response(next(answers))
    assert (refusal.parameters["status"], refusal.parameters["draining"]) == (
        "RESOURCE_EXHAUSTED",
        True,
    )
    frames.put(None)
    assert list(answers) == []
    drain.join()
