"""The link to the fogs: windows in flight, their deadlines, losing a fog and finding one again.

Four threads meet here. The run's thread sends. A reader per stream takes the replies. The keeper
expires deadlines. The connector looks for a fog: any while none is in use, a more preferred one
after a dwell. Whoever takes a message out of a lane's `pending` under the lock finishes it: that is
why no window is lost and none is finished twice.
"""

import random
import threading
from collections.abc import Callable, Sequence

from edge_agent.fog_client import FogClient, FogStream
from edge_agent.fogs import Fog
from edge_agent.lane import Lane, Outcome, Request
from edge_agent.lanes import REFUSALS, Lanes, Policy
from edge_agent.replies import Replies
from headtail.errors import DeadlineExceeded, FogUnavailable, Overloaded, RemoteError


class FogLink:
    """Keeps a stream open to the most preferred fog that is there."""

    def __init__(
        self,
        clients: Sequence[FogClient],
        outcome: Outcome,
        policy: Policy,
        rng: random.Random,
        clock: Callable[[], float],
    ) -> None:
        """Prepare; nothing is connected before `start`.

        Args:
            clients: One for each fog, in order of preference.
            outcome: Told what becomes of each request.
            policy: How patient to be.
            rng: Source of every jitter.
            clock: Monotonic seconds.
        """
        self.lanes = Lanes(clients, policy, rng)
        self._outcome = outcome
        self._clock = clock
        self._lock = threading.Lock()
        self._expiry = threading.Condition(self._lock)
        self._change = threading.Condition(self._lock)
        self._is_keeper_idle = False
        self._is_closed = False
        self._readers: list[threading.Thread] = []
        self._replies = Replies(self.lanes, self._lock, outcome, clock, self._lose, self._tell)
        self._keeper = threading.Thread(target=self._keep, name="fog-keeper", daemon=True)
        self._connector = threading.Thread(target=self._connect, name="fog-connector", daemon=True)

    @property
    def is_up(self) -> bool:
        """Whether a window sent now would go to a fog."""
        return self.lanes.next_lane() is not None

    @property
    def in_use(self) -> Fog | None:
        """The fog in use."""
        lane = self.lanes.active
        return None if lane is None else lane.fog

    def start(self) -> None:
        """Begin to connect, in the background."""
        self._keeper.start()
        self._connector.start()

    def wait_first_attempt(self, seconds: float) -> None:
        """Wait until a fog is connected or none is to be had at the first attempt."""
        with self._lock:
            self._change.wait_for(lambda: self.lanes.has_tried, seconds)

    def send(self, request: Request) -> RemoteError | None:
        """Send a request; return why not where no fog is there or it wants a pause.

        None means that `outcome` will hear of it.
        """
        with self._lock:
            lane = self.lanes.next_lane()
            if lane is None or self._is_closed:
                return FogUnavailable("", "away")
            wait_s = lane.paused_until_s - request.sent_s
            if wait_s > 0:
                where = f"fog {lane.fog.client.fog}"
                return Overloaded(where, "asked for a pause", wait_s)
            lane.pending[request.id] = request
            lane.stream.send(request.content, request.body)
            if self._is_keeper_idle:
                self._expiry.notify()
        return None

    def close(self) -> None:
        """Close every stream; what is still pending fails first."""
        with self._lock:
            self._is_closed = True
            lanes, readers = list(self.lanes.open), list(self._readers)
            self._tell()
        for lane in lanes:
            lane.stream.close()
        for thread in (*readers, self._keeper, self._connector):
            thread.join()

    def _tell(self) -> None:
        """Wake the keeper, the connector and whoever waits for the first attempt."""
        self._expiry.notify_all()
        self._change.notify_all()

    def _connect(self) -> None:
        """Look for a fog, and then for a better one."""
        while (fog := self._wait_turn()) is not None:
            try:
                stream = fog.client.connect()
            except RemoteError as error:
                with self._lock:
                    self.lanes.not_connected(fog, error, self._clock())
                    # Before anybody who waits for this attempt goes on.
                    self._end_if_refused(error)
                    self._tell()
            else:
                self._adopt(fog, stream)

    def _wait_turn(self) -> Fog | None:
        """Wait until a fog may be tried and return it; None once the link is closed."""
        with self._lock:
            while not self._is_closed:
                now_s = self._clock()
                fog, again_s = self.lanes.next_turn(now_s)
                if fog is not None:
                    fog.breaker.try_now()
                    return fog
                self._change.wait(None if again_s == float("inf") else again_s - now_s)
        return None

    def _adopt(self, fog: Fog, stream: FogStream) -> None:
        """Take a stream into use, or on trial, and read it."""
        with self._lock:
            if self._is_closed:
                stream.close()
                return
            lane = self.lanes.adopt(fog, stream, self._clock())
            reader = threading.Thread(
                target=self._replies.read, args=(lane,), name="fog-reader", daemon=True
            )
            self._readers = [*(r for r in self._readers if r.is_alive()), reader]
            reader.start()
            self._tell()

    def _keep(self) -> None:
        """Finish what is late without the fog."""
        while (now_s := self._wait_due()) is not None:
            for lane in list(self.lanes.open):
                self._expire(lane, now_s)

    def _wait_due(self) -> float | None:
        """Wait until a deadline has passed and return the time; None once the link is closed."""
        with self._lock:
            while not self._is_closed:
                dues = [due_s for lane in self.lanes.open if (due_s := lane.due_s) is not None]
                now_s, due_s = self._clock(), min(dues, default=None)
                if due_s is not None and due_s <= now_s:
                    return now_s
                # A new deadline is later than those there are, but not than a lane's closing.
                self._is_keeper_idle = not any(lane.pending for lane in self.lanes.open)
                self._expiry.wait(None if due_s is None else due_s - now_s)
                self._is_keeper_idle = False
        return None

    def _expire(self, lane: Lane, now_s: float) -> None:
        """Fail what is past its deadline; a lane that brought nothing in the meantime is lost."""
        with self._lock:
            late = lane.take_late(now_s)
            is_silent = bool(late) and lane.last_heard_s < late[0].sent_s
            is_in_use = lane.closes_s is None
            is_failing = is_in_use and any([lane.fog.breaker.missed() for _ in late])
            is_over = not lane.pending and now_s >= (lane.closes_s or float("inf"))
        fog = lane.fog.client.fog
        if is_silent:
            # Nothing at all came back in a whole deadline: the next window need not wait for it.
            self._lose(lane, FogUnavailable(fog, "silent past a deadline"), "silent")
        elif is_failing:
            self._lose(lane, FogUnavailable(fog, "late too often"), "missed")
        elif is_over:
            self._lose(lane, FogUnavailable(fog, "half-closed"), "broken")
        for request in late:
            allowed_s = request.deadline_s - request.sent_s
            self._outcome.failed(request, DeadlineExceeded(f"fog {fog}", allowed_s))

    def _lose(self, lane: Lane, error: RemoteError, reason: str) -> None:
        """Drop a lane, unless it is dropped already, and fail all that waits for it."""
        with self._lock:
            if lane not in self.lanes.open:
                return
            may_end = not self._is_closed and lane.closes_s is None
            if not self._is_closed:
                self.lanes.step_down(lane, reason, error, self._clock())
            self.lanes.open.remove(lane)
            lost = lane.take_all()
            self._tell()
        lane.stream.close()
        if may_end:
            self._end_if_refused(error)
        for request in lost:
            self._outcome.failed(request, error)

    def _end_if_refused(self, error: RemoteError) -> None:
        """End the run where this was the last fog that might have had us."""
        if isinstance(error, REFUSALS) and self.lanes.is_hopeless:
            self._outcome.refused(error)
