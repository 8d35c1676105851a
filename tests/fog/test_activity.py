"""Activity: what a drain waits for, and how it ends a stream."""

import threading
from collections.abc import Callable

import pytest

from fog_server.activity import Activity, Stream
from headtail.errors import Overloaded


class Sent(list):
    """What a stream sent; None is its end."""

    def __call__(self, message: bytes | None) -> None:
        """Take one message."""
        self.append(message)


def test_stream_answers_then_ends_once() -> None:
    """After its end nothing more is begun."""
    sent = Sent()
    with Activity(1).stream(sent) as stream:
        assert stream.begin()
        stream.answer(b"1")
        stream.end()
        assert not stream.begin()
    assert [b"1", None] == sent


def test_stream_ends_only_when_all_that_was_begun_is_answered() -> None:
    """Answers come from other threads, in any order, while the reader is done already."""
    sent, activity = Sent(), Activity(1)
    release = threading.Event()

    def answer(stream: Stream) -> None:
        release.wait(20)
        for text in (b"2", b"1"):
            stream.answer(text)

    with activity.stream(sent) as stream:
        assert [stream.begin(), stream.begin()] == [True, True]
        worker = threading.Thread(target=answer, args=(stream,))
        worker.start()
        stream.end_if_silent(0.0)
        assert sent == []
        release.set()
    worker.join()
    assert [b"2", b"1", None] == sent
    assert activity.streams == 0


def test_client_that_takes_no_answers_keeps_one_thread() -> None:
    """The others leave theirs with it, and go on."""
    taken, free = threading.Event(), threading.Event()
    sent = Sent()

    def send(message: bytes | None) -> None:
        taken.set()
        free.wait(20)
        sent(message)

    stream = Stream(send, lambda: 0.0)
    for _ in range(3):
        assert stream.begin()
    stuck = threading.Thread(target=stream.answer, args=(b"1",))
    stuck.start()
    taken.wait(20)
    stream.answer(b"2")
    stream.answer(b"3")
    assert sent == []
    free.set()
    stuck.join()
    stream.end()
    assert [b"1", b"2", b"3", None] == sent


def test_answers_of_one_thread_leave_together() -> None:
    """In one call, where there is one for several; they count as under way until they left."""
    sent, together = Sent(), []
    sent.many = lambda messages: together.append(list(messages))
    stream = Stream(sent, lambda: 0.0)
    for _ in range(3):
        assert stream.begin(10)
    stream.answer(b"1", more=True)
    stream.answer(b"22", more=True)
    stream.end_if_silent(0.0)
    assert ([], []) == (sent, together)
    stream.answer(b"333")
    assert ([], [[b"1", b"22", b"333"]]) == (sent, together)
    assert stream.begin(10)
    stream.answer(b"4")
    stream.end()
    assert [b"4", None] == sent
    assert (40, 7) == (stream.received_bytes, stream.sent_bytes)


def test_answers_that_leave_together_leave_one_by_one_where_they_must() -> None:
    sent = Sent()
    with Activity(1).stream(sent) as stream:
        assert [stream.begin(), stream.begin()] == [True, True]
        stream.answer(b"1", more=True)
        stream.answer(b"2")
    assert [b"1", b"2", None] == sent


def test_bytes_of_streams_that_ended_stay_in_the_sum() -> None:
    """A counter never goes back."""
    activity = Activity(2)
    activity.count_bytes(1, 2)
    for expected in ((11, 7), (21, 12)):
        with activity.stream(Sent()) as stream:
            assert stream.begin(10)
            stream.answer(b"12345")
            assert expected == activity.wire_bytes
        assert expected == activity.wire_bytes
    with activity.stream(Sent()) as stream:
        stream.end()
        assert not stream.begin(10)
    assert (21, 12) == activity.wire_bytes


def test_stream_knows_whether_its_agent_sends_ahead() -> None:
    """The first window asks; one read behind another says yes, and many without say no."""
    stream = Stream(Sent(), lambda: 0.0)

    def alone() -> bool:
        assert stream.begin()
        ahead = stream.sends_ahead
        stream.answer(b"")
        return ahead

    assert [True, False, False] == [alone() for _ in range(3)]
    assert stream.begin()
    assert stream.begin()
    assert stream.sends_ahead
    stream.answer(b"")
    stream.answer(b"")
    several = [alone() for _ in range(100)]
    assert several[0]
    assert several.count(True) < 60
    assert not all(several[-31:])


def test_streams_over_the_limit_are_refused() -> None:
    """The limit is on streams open at once."""
    activity = Activity(1)
    with activity.stream(Sent()), pytest.raises(Overloaded, match="1 streams are open"):
        activity.stream(Sent()).__enter__()
    with activity.stream(Sent()):
        assert activity.streams == 1


def test_idle_server_drains_at_once() -> None:
    """There is nothing to wait for."""
    activity = Activity(1)
    assert activity.drain(drain_s=0.0, settle_s=9.0)


def test_call_in_flight_that_outlasts_the_drain_is_given_up() -> None:
    """The drain is bounded."""
    activity = Activity(1)
    with activity.call():
        assert not activity.drain(drain_s=0.02, settle_s=0.0)


def test_call_counts_until_it_is_over() -> None:
    """What gRPC still has to send is not cut."""
    activity = Activity(1)
    told: list[Callable[[], None]] = []

    def when_over(tell: Callable[[], None]) -> bool:
        told.append(tell)
        return True

    with activity.call(when_over):
        pass
    assert not activity.drain(drain_s=0.02, settle_s=0.0)
    (tell,) = told
    tell()
    assert activity.drain(drain_s=0.0, settle_s=9.0)


def test_call_whose_client_hung_up_counts_while_it_runs() -> None:
    """Its method may be at work still."""
    activity = Activity(1)
    with activity.call(lambda tell: False):
        assert not activity.drain(drain_s=0.02, settle_s=0.0)
    assert activity.drain(drain_s=0.0, settle_s=9.0)


def test_silent_stream_is_ended_when_it_has_settled() -> None:
    """Not before it has been silent for the settling time, and then with status OK."""
    now = 0.0
    sent = Sent()
    activity = Activity(1, clock=lambda: now)
    with activity.stream(sent) as stream:
        now = 0.1
        stream.end_if_silent(0.25)
        assert sent == []
        now = 0.3
        stream.end_if_silent(0.25)
        assert sent == [None]


def test_stream_that_goes_on_sending_is_ended_between_two_windows() -> None:
    """An agent that does not care about the drain loses no window that was answered."""
    sent = Sent()
    activity = Activity(1)
    with activity.stream(sent) as stream:
        assert stream.begin()
        assert not activity.drain(drain_s=0.0, settle_s=9.0)
        assert not stream.begin()
        stream.answer(b"last")
        assert [b"last", None] == sent
    assert [b"last", None] == sent


def test_window_being_answered_is_not_cut() -> None:
    """Whoever drains finds the stream busy and leaves it alone."""
    sent = Sent()
    with Activity(1).stream(sent) as stream:
        assert stream.begin()
        stream.end_if_silent(0.0)
        stream.answer(b"whole")
    assert [b"whole", None] == sent
