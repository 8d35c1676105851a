"""Activity: what a drain waits for, and how it ends a stream."""

import pytest

from fog_server.activity import Activity
from headtail.errors import Overloaded


class Sent(list):
    """What a stream sent; None is its end."""

    def __call__(self, message: bytes | None) -> None:
        """Take one message."""
        self.append(message)


def test_stream_answers_then_ends_once() -> None:
    """After its end nothing more is sent, and the caller is told."""
    sent = Sent()
    with Activity(1).stream(sent) as stream:
        assert stream.answer(lambda: b"1")
        stream.end()
        assert not stream.answer(lambda: b"2")
    assert [b"1", None] == sent


def test_stream_ends_even_if_its_window_fails() -> None:
    """An error on the way out does not leave the stream open."""
    sent, activity = Sent(), Activity(1)
    with pytest.raises(ZeroDivisionError), activity.stream(sent) as stream:
        stream.answer(lambda: bytes(1 // 0))
    assert [None] == sent
    assert activity.streams == 0


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

        def respond() -> bytes:
            assert not activity.drain(drain_s=0.0, settle_s=9.0)
            return b"last"

        assert stream.answer(respond)
        assert not stream.answer(lambda: b"after the end")
    assert [b"last", None] == sent


def test_window_being_answered_is_not_cut() -> None:
    """Whoever drains finds the stream busy and leaves it alone."""
    sent = Sent()
    with Activity(1).stream(sent) as stream:

        def respond() -> bytes:
            stream.end_if_silent(0.0)
            return b"whole"

        assert stream.answer(respond)
    assert [b"whole", None] == sent
