"""A link in simulated time: a clock with what is due, two queues of bytes, and calls over them.

It is the link of `proxy_link.py` without sockets or threads: each direction is one queue at the
rate of the trace, and behind it the delay. What a run sees of it is the same every time.
"""

import heapq
import itertools
from collections.abc import Callable

import numpy as np

from proxy_connection import Side
from proxy_link import CHUNK_BYTES, CHUNK_S, PACKET_BYTES, Trace

BEGIN_S = 100.0
"""On the clock: a monotonic one does not begin with the program."""
CALL_BYTES, FIRST_CALL_BYTES, CALL_REPLY_BYTES = 58, 200, 40
"""Of an empty call and of its answer; headers of the first on a connection are sent in full."""
CALL_S = 6e-4
"""That gRPC and the fog take for an empty call."""
LAG_S, STALL_S = 2e-4, 0.01
"""Means of what gRPC takes more, and of how long another program holds something up."""


class Lag:
    """What threads and other programs add to times, drawn from one seed."""

    def __init__(self, rng: np.random.Generator, stall_ratio: float) -> None:
        """Take the generator, and the share of all times that another program makes longer."""
        self._rng = rng
        self._stall_ratio = stall_ratio

    def draw(self, mean_s: float) -> float:
        """Return an exponential time, in seconds, and now and then a stall with it."""
        stall_s = (
            STALL_S * self._rng.exponential() if self._rng.random() < self._stall_ratio else 0.0
        )
        return mean_s * self._rng.exponential() + stall_s


class SimulatedTime:
    """A clock that stands until it is moved, and does on its way what is due."""

    def __init__(self) -> None:
        self.now_s = BEGIN_S
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._count = itertools.count()

    def clock(self) -> float:
        """Return the time."""
        return self.now_s

    def at(self, due_s: float, call: Callable[[], None]) -> None:
        """Call at a time; what is due at the same one is called in this order."""
        heapq.heappush(self._due, (due_s, next(self._count), call))

    def advance(self, until_s: float, is_enough: Callable[[], bool] = lambda: False) -> None:
        """Move on to a time, or to what makes it enough before."""
        while not is_enough():
            if not self._due or self._due[0][0] > until_s:
                self.now_s = max(self.now_s, until_s)
                return
            due_s, _, call = heapq.heappop(self._due)
            self.now_s = max(self.now_s, due_s)
            call()


class SimulatedLink:
    """Carries messages to a fog and their answers back."""

    def __init__(self, trace: Trace, time: SimulatedTime, lag: Lag) -> None:
        """Begin the link's time.

        Args:
            trace: The link.
            time: Moved by whoever runs.
            lag: Of empty calls.
        """
        self._trace = trace
        self._time = time
        self._lag = lag
        self._start_s = time.now_s
        self._free_s: dict[Side, float] = {"up": 0.0, "down": 0.0}
        self._last_s: dict[Side, float] = {"up": 0.0, "down": 0.0}
        """When the last message arrives: later ones never overtake."""
        self.taken_bytes: dict[Side, int] = {"up": 0, "down": 0}
        """As in `LinkProxy`, as is the next."""
        self.busy_s: dict[Side, float] = {"up": 0.0, "down": 0.0}
        self._has_called = False

    @property
    def now_s(self) -> float:
        """Seconds since the link's time began."""
        return self._time.now_s - self._start_s

    def restart(self) -> None:
        """Begin the link's time anew."""
        self._start_s = self._time.now_s

    def carry(self, side: Side, size: int) -> float:
        """Return when the last of so many bytes that are sent now arrives, on the clock."""
        self.taken_bytes[side] += size
        rate = self._trace(self.now_s).bits_per_s(side)
        fitting = int(rate * CHUNK_S / 8) if rate else CHUNK_BYTES
        chunk = max(PACKET_BYTES, min(CHUNK_BYTES, fitting))
        for begun in range(0, size, chunk):
            start_s = max(self._time.now_s, self._free_s[side])
            state = self._trace(start_s - self._start_s)
            rate = state.bits_per_s(side)
            busy_s = 8 * min(chunk, size - begun) / rate if rate else 0.0
            self.busy_s[side] += busy_s
            self._free_s[side] = start_s + busy_s
            self._last_s[side] = max(self._last_s[side], self._free_s[side] + state.delay_s)
        return self._last_s[side]

    def exchange(self, size: int, reply_bytes: int, fog_s: float, done: Callable[[], None]) -> None:
        """Send a message now.

        Args:
            size: Of the message, in bytes.
            reply_bytes: Of its answer.
            fog_s: From the message's arrival until its answer leaves.
            done: Called when that is here.
        """

        def reply() -> None:
            self._time.at(self.carry("down", reply_bytes), done)

        self._time.at(self.carry("up", size) + fog_s, reply)

    def call(self, padding_bytes: int, done: Callable[[float | None], None]) -> bool:
        """Make an empty call; see `edge_agent.partition.probing`."""
        size = CALL_BYTES if self._has_called else FIRST_CALL_BYTES
        self._has_called = True
        sent_s = self._time.now_s
        self.exchange(
            size + padding_bytes,
            CALL_REPLY_BYTES,
            CALL_S + self._lag.draw(LAG_S),
            lambda: done(self._time.now_s - sent_s),
        )
        return True
