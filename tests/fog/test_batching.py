"""Batches as clients see them: formed while the slot is busy, and right for everybody."""

import queue
import threading

import numpy as np
import pytest

from fog_server.batcher_policy import DynamicBatching, QueuePolicy
from headtail.oip import read_stream_response

WINDOWS = [
    np.random.default_rng(n).standard_normal((1, 16, 2)).astype(np.float32) for n in range(8)
]


class Agent:
    """One stream that is kept open."""

    def __init__(self, client) -> None:
        """Open it."""
        self.client = client
        self._frames = queue.SimpleQueue()
        self.call = client.open_stream(iter(self._frames.get, None), timeout=30)

    def send(self, number: int, model: str = "chain", **parameters) -> None:
        """Send one window."""
        x = {"x": WINDOWS[number]}
        self._frames.put(self.client.request(model, x, request_id=str(number), **parameters))

    def receive(self, count: int):
        """Return so many answers, then close the stream."""
        answers = [read_stream_response(next(self.call)) for _ in range(count)]
        self._frames.put(None)
        assert list(self.call) == []
        return answers


def batching(**keys) -> dict[str, object]:
    """Return a section of one slot with these settings."""
    return {"max_running": 1, "dynamic_batching": DynamicBatching(**keys)}


def sizes(fog, model: str = "chain") -> tuple[float, float]:
    """Return how many batches ran and how many windows they held."""
    value = fog.metrics.registry.get_sample_value
    labels = {"model": model}
    return value("fog_batch_windows_count", labels), value("fog_batch_windows_sum", labels)


def test_windows_of_several_agents_that_wait_run_as_one_batch(
    start_fog, connect, wait_until, whole
):
    """Each gets the outputs of its own windows, and how long its batch took."""
    fog = start_fog(inference=batching())
    agents = [Agent(connect(fog)) for _ in range(3)]
    with fog.admission.slot():
        for number in range(6):
            agents[number % 3].send(number, agent=f"a{number % 3}")
        wait_until(lambda: fog.admission.queued == 6)
    answers = [answer for agent in agents for answer in agent.receive(2)]
    for answer in answers:
        expected = whole("chain", {"x": WINDOWS[int(answer.id)]})
        assert np.allclose(expected, agents[0].client.output(answer), rtol=0, atol=1e-6)
        assert answer.parameters["queue_ns"] > 0
    assert ["0", "1", "2", "3", "4", "5"] == sorted(answer.id for answer in answers)
    assert 1 == len({answer.parameters["compute_ns"] for answer in answers})
    assert (1.0, 6.0) == sizes(fog)


def test_batches_hold_no_more_windows_than_they_may(start_fog, connect, wait_until):
    """Six windows in batches of four."""
    fog = start_fog(inference=batching(max_batch_size=4))
    agent = Agent(connect(fog))
    with fog.admission.slot():
        for number in range(6):
            agent.send(number)
        wait_until(lambda: fog.admission.queued == 6)
    agent.receive(6)
    assert (2.0, 6.0) == sizes(fog)


def test_model_without_batch_dimension_runs_one_by_one(start_fog, connect, wait_until):
    """Whatever waits."""
    fog = start_fog(inference=batching())
    client = connect(fog)
    inputs = {"x": np.zeros(8, np.float32), "gain": np.array([2], np.int64)}
    answers = []
    frames = [client.request("fixed", inputs, request_id=str(n)) for n in range(3)]
    with fog.admission.slot():
        thread = threading.Thread(target=lambda: answers.extend(client.stream(frames)))
        thread.start()
        wait_until(lambda: fog.admission.queued == 3)
    thread.join()
    assert [""] * 3 == [answer.error for answer in answers]
    assert (3.0, 3.0) == sizes(fog, "fixed")


def test_order_is_kept_where_it_is_asked_for(start_fog, connect):
    """Several slots, many messages at once: an agent's answers come as it asked."""
    keys = {"preserve_ordering": True, "max_batch_size": 3}
    fog = start_fog(inference=batching(**keys) | {"max_running": 4})
    clients = [connect(fog) for _ in range(3)]
    found = {}

    def run(name: str, client) -> None:
        frames = [
            client.request("chain", {"x": WINDOWS[n % 8]}, request_id=str(n), agent=name)
            for n in range(60)
        ]
        found[name] = [answer.id for answer in client.stream(frames)]

    threads = [
        threading.Thread(target=run, args=(f"a{n}", client)) for n, client in enumerate(clients)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [[str(n) for n in range(60)]] * 3 == list(found.values())


def test_higher_priority_goes_first(start_fog, connect, wait_until, monkeypatch):
    """Level 1 before the default of 2, whoever came first; both are counted while they wait."""
    monkeypatch.setattr("fog_server.admission.STUCK_S", 60.0)  # answers leave in turn, however slow
    fog = start_fog(
        inference=batching(max_batch_size=1, priority_levels=2, default_priority_level=2)
    )
    agent, value = Agent(connect(fog)), fog.metrics.registry.get_sample_value
    with fog.admission.slot():
        for number, priority in enumerate([0, 2, 1, 7]):
            agent.send(number, priority=priority)
        wait_until(lambda: fog.admission.queued == 4)
        waiting = [value("fog_pending_requests", {"priority": level}) for level in "12"]
        assert [1.0, 3.0] == waiting
    assert ["2", "0", "1", "3"] == [answer.id for answer in agent.receive(4)]


@pytest.mark.parametrize("timeout", [1, 10**9])
def test_what_waits_longer_than_its_policy_allows_is_refused(start_fog, connect, timeout):
    """A request may shorten the timeout, not lengthen it."""
    policy = QueuePolicy(default_timeout_microseconds=20_000, allow_timeout_override=True)
    fog = start_fog(inference=batching(default_queue_policy=policy))
    agent = Agent(connect(fog))
    with fog.admission.slot():
        agent.send(0, timeout=timeout)
        (answer,) = agent.receive(1)
    assert "DEADLINE_EXCEEDED" == answer.parameters["status"]
    expected = f"within {min(timeout, 20_000) / 1e6:.3f} s"
    assert expected in answer.error
    value = fog.metrics.registry.get_sample_value
    assert 1.0 == value("fog_refused_windows_total", {"reason": "timed_out"})


def test_full_queue_of_one_model_leaves_room_for_another(start_fog, connect, wait_until):
    """`max_queue_size` is each model's own."""
    policy = QueuePolicy(max_queue_size=1)
    fog = start_fog(inference=batching(default_queue_policy=policy))
    agent = Agent(connect(fog))
    with fog.admission.slot():
        agent.send(0)
        wait_until(lambda: fog.admission.queued == 1)
        agent.send(1)
        refused = read_stream_response(next(agent.call))
        agent.send(2, "chain-tail0-float32")
        wait_until(lambda: fog.admission.queued == 2)
    assert ("1", "RESOURCE_EXHAUSTED") == (refused.id, refused.parameters["status"])
    assert refused.parameters["retry_delay_ms"] >= 10
    assert [""] * 2 == [answer.error for answer in agent.receive(2)]


def test_request_is_kept_for_others_to_join_it(start_fog, connect):
    """With a delay a free slot is no reason to run; a full batch is."""
    keys = {"max_queue_delay_microseconds": 60_000_000, "max_batch_size": 3}
    fog = start_fog(inference=batching(**keys))
    agent = Agent(connect(fog))
    for number in range(3):
        agent.send(number)
    assert [""] * 3 == [answer.error for answer in agent.receive(3)]
    assert (1.0, 3.0) == sizes(fog)


def test_delay_ends_by_itself(start_fog, connect):
    """One that nobody joins runs alone."""
    fog = start_fog(inference=batching(max_queue_delay_microseconds=5000))
    client = connect(fog)
    assert client.infer("chain", {"x": WINDOWS[0]}).outputs
    assert client.infer("chain", {"x": WINDOWS[0]}).parameters["queue_ns"] >= 4_000_000


def test_one_models_table_wins_over_the_general_one(start_fog, connect, wait_until):
    """By its bundle's name or its own."""
    models = {"chain": DynamicBatching(max_batch_size=2)}
    fog = start_fog(inference=batching() | {"models": models})
    agent = Agent(connect(fog))
    with fog.admission.slot():
        for number in range(4):
            agent.send(number, "chain-tail0-float32")
        wait_until(lambda: fog.admission.queued == 4)
    agent.receive(4)
    assert (2.0, 4.0) == sizes(fog, "chain-tail0-float32")
