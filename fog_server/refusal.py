"""Why the fog turns work away: the words its metrics count under."""

from enum import StrEnum

from headtail.errors import DeadlineExceeded, HeadtailError, Overloaded

WHERE = "fog"


class Cause(StrEnum):
    """Why windows were not run, or a stream was not opened."""

    QUEUE_FULL = "queue_full"
    """As many requests wait as may, of all or of its model, and none that would run after it."""
    PUSHED_OUT = "pushed_out"
    """It waited, but its sender held more places than a newcomer who found the queue full."""
    TOO_SLOW = "too_slow"
    """Its turn was not to be expected before its deadline."""
    RATE = "rate"
    """Its sender is over its rate."""
    QUOTA = "quota"
    """Its sender has used up its quota."""
    BACKLOG = "backlog"
    """It lay unread past its deadline: its stream carries more than is read of it."""
    EXPIRED_ON_WAY = "expired_on_way"
    """No time was left to it when it came."""
    EXPIRED_IN_QUEUE = "expired_in_queue"
    """Its deadline passed while it waited for its turn."""
    TIMED_OUT = "timed_out"
    """It waited longer than the policy of its queue allows."""
    STREAM_ENDED = "stream_ended"
    """It came after a draining server had ended its stream."""
    STREAMS = "streams"
    """As many streams are open as may."""
    AGENT_STREAMS = "agent_streams"
    """Its sender has as many streams open as one agent may."""


STREAM_CAUSES = frozenset({Cause.STREAMS, Cause.AGENT_STREAMS})
"""Why a stream is refused; the others refuse windows."""


def refusal(cause: Cause, reason: str, retry_delay_s: float) -> Overloaded:
    """Return the error that sends an agent away for a while."""
    return Overloaded(WHERE, reason, retry_delay_s, cause)


def expiry(cause: Cause, allowed_s: float) -> DeadlineExceeded:
    """Return the error of work that nobody waits for any more."""
    return DeadlineExceeded(WHERE, max(0.0, allowed_s), cause)


def cause_of(error: HeadtailError) -> Cause | None:
    """Return why `error` turned work away; None where it did not."""
    if isinstance(error, Overloaded | DeadlineExceeded) and error.cause:
        return Cause(error.cause)
    return None
