"""What a fog sends back: answers, errors about a window, and what both say of the fog."""

import threading
from collections.abc import Callable

from edge_agent.fog_errors import stream_error
from edge_agent.lane import Lane, Outcome
from edge_agent.lanes import DENIALS, REFUSALS, Lanes, outcome_of
from headtail.errors import FogUnavailable, HeadtailError, Overloaded, RemoteError, RemoteFailed
from headtail.log import concerning
from headtail.oip import Content, InferResponse, read_stream_response

DRAINING = "draining"
"""Parameter by which a fog says that it will end its streams soon."""
NAMED = ("overloaded", "refused", "denied")
"""Ends of a stream that are not just the link's."""


class Replies:
    """Takes what comes back on every lane, each on a thread of its own."""

    def __init__(
        self,
        lanes: Lanes,
        lock: threading.Lock,
        outcome: Outcome,
        clock: Callable[[], float],
        lose: Callable[[Lane, RemoteError, str], None],
        tell: Callable[[], None],
    ) -> None:
        """Prepare.

        Args:
            lanes: The link's.
            lock: Guards them.
            outcome: Told what becomes of each request.
            clock: Monotonic seconds.
            lose: Drops a lane; not to be called with the lock held.
            tell: Says that the lanes have changed; with the lock held.
        """
        self._lanes = lanes
        self._lock = lock
        self._outcome = outcome
        self._clock = clock
        self._lose = lose
        self._tell = tell

    def read(self, lane: Lane) -> None:
        """Take what comes back on a lane, until it ends."""
        try:
            for data in lane.stream.replies():
                self._take(lane, data)
        except RemoteError as error:
            lane.fog.client.learn(error)
            reason = outcome_of(error)
            self._lose(lane, error, reason if reason in NAMED else "broken")

    def _take(self, lane: Lane, data: Content) -> None:
        received_s = self._clock()
        try:
            response = read_stream_response(data)
        except HeadtailError as error:
            with self._lock:
                self._lanes.counts.drops["malformed"] += 1
            fault = RemoteFailed(f"fog {lane.fog.client.fog}", f"sent what is no answer: {error}")
            self._lose(lane, fault, "malformed")
            return
        if response.error:
            with concerning(response.id):
                self._take_error(lane, response, received_s)
            return
        with self._lock:
            request = lane.pending.pop(response.id, None)
            lane.last_heard_s = received_s
            if not lane.is_proved:
                self._lanes.prove(lane, received_s)
                self._tell()
            if response.parameters.get(DRAINING):
                self._lanes.leave(lane, "draining", None, received_s)
                self._tell()
            if request is None:
                self._lanes.counts.drops["late"] += 1
        if request is None or self._outcome.answered(request, response, received_s):
            lane.fog.breaker.misses = 0
        elif lane.fog.breaker.missed():
            where = f"fog {lane.fog.client.fog}"
            self._lose(lane, RemoteFailed(where, "its answers are of no use"), "missed")

    def _take_error(self, lane: Lane, response: InferResponse, received_s: float) -> None:
        """Take the fog's error about one window, and see what it says of the fog."""
        error = stream_error(response, lane.fog.client.fog, lane.fog.client.tail.key)
        with self._lock:
            request = lane.pending.pop(response.id, None)
            lane.last_heard_s = received_s
            reason = self._fault(lane, error, received_s)
            if response.parameters.get(DRAINING):
                reason = "draining"
            if request is None:
                self._lanes.counts.drops["late"] += 1
            if reason in ("overloaded", "draining"):
                self._lanes.leave(lane, reason, error, received_s)
                self._tell()
        if reason in ("refused", "denied", "missed"):
            self._lose(lane, error, reason)
        if request is not None:
            self._outcome.failed(request, error)

    def _fault(self, lane: Lane, error: RemoteError, now_s: float) -> str:
        """Return why a fog that answered so is to be left; "" where it is not."""
        if isinstance(error, Overloaded):
            return self._lanes.pause(lane, error, now_s)
        if isinstance(error, FogUnavailable):
            return "draining"
        if isinstance(error, REFUSALS + DENIALS):
            return outcome_of(error)
        return "missed" if lane.fog.breaker.missed() else ""
