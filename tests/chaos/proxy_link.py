"""A TCP proxy that carries bytes as a link does: a rate each way, a delay, both free to change.

`Proxy` misbehaves; this one behaves, as slowly as the link that is asked for. Each direction is a
token bucket of one chunk and behind it a delay line: chunks queue for the rate, and any number of
them is on its way at once. TCP ends at the proxy on both sides, so that neither slow start nor lost
packets show: what is asked for is what the bytes get.
"""

import contextlib
import queue
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

from proxy_connection import Side, reset

CONNECT_S = 5.0
PACKET_BYTES, CHUNK_BYTES = 1460, 16 << 10
CHUNK_S = 0.005
"""What a chunk takes at the link's rate, between the two sizes above."""
LINE_CHUNKS = 128
"""Chunks under way in one direction; then the sender has to wait, as before a full buffer."""
_Chunk = tuple[float, bytes]


@dataclass(frozen=True, slots=True)
class LinkState:
    """What a link gives at one moment."""

    up_bits_per_s: float
    """From the client to the target; 0: no limit."""
    down_bits_per_s: float
    delay_s: float
    """One way, on top of the rate."""

    def bits_per_s(self, side: Side) -> float:
        """Return the rate of one direction."""
        return self.up_bits_per_s if side == "up" else self.down_bits_per_s


Trace = Callable[[float], LinkState]
"""What a link gives so many seconds after its start; the same every time it is asked."""


class LinkProxy:
    """Accepts connections and passes each on over a link; all of them share its rate."""

    def __init__(
        self, target: str, trace: Trace, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Listen at once, on a free port of 127.0.0.1.

        Args:
            target: HOST:PORT to pass on to.
            trace: The link; its time begins now and again at every `restart`.
            clock: Monotonic seconds.
        """
        self.counts: Counter[str] = Counter()
        self._target = target
        self._trace = trace
        self._clock = clock
        self._lock = threading.Lock()
        self._start_s = clock()
        self._free_s: dict[Side, float] = {"up": 0.0, "down": 0.0}
        self.taken_bytes: dict[Side, int] = {"up": 0, "down": 0}
        """Bytes that came in each direction, whether they have arrived or not."""
        self.busy_s: dict[Side, float] = {"up": 0.0, "down": 0.0}
        """Seconds that they keep the rate of that direction in use."""
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._acceptor = threading.Thread(target=self._accept, name="link", daemon=True)
        self._acceptor.start()

    def __enter__(self) -> "LinkProxy":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def now_s(self) -> float:
        """Seconds since the link's time began."""
        return self._clock() - self._start_s

    def restart(self) -> None:
        """Begin the link's time anew."""
        self._start_s = self._clock()

    def close(self) -> None:
        """Stop listening and reset every connection."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._acceptor.join()
        for pair in self._pairs:
            for end in pair:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for pair in self._pairs:
            for end in pair:
                reset(end)

    def due_s(self, side: Side, count: int, now_s: float) -> float:
        """Return when the last of so many bytes that come now arrives, and note their passing.

        Args:
            side: Their direction.
            count: Bytes.
            now_s: On the link's clock.
        """
        with self._lock:
            start_s = max(now_s, self._free_s[side])
            state = self._trace(start_s - self._start_s)
            rate = state.bits_per_s(side)
            busy_s = 8 * count / rate if rate else 0.0
            self._free_s[side] = start_s + busy_s
            self.taken_bytes[side] += count
            self.busy_s[side] += busy_s
            return self._free_s[side] + state.delay_s

    def _accept(self) -> None:
        host, _, port = self._target.rpartition(":")
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.counts["accepted"] += 1
            try:
                target = socket.create_connection((host, int(port)), CONNECT_S)
            except OSError:
                self.counts["target_away"] += 1
                reset(client)
                continue
            target.settimeout(None)
            for end in (client, target):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._pairs.append((client, target))
            self._carry("up", client, target)
            self._carry("down", target, client)

    def _carry(self, side: Side, source: socket.socket, receiver: socket.socket) -> None:
        line: queue.Queue[_Chunk] = queue.Queue(LINE_CHUNKS)
        for work, end in ((self._read, source), (self._write, receiver)):
            thread = threading.Thread(target=work, args=(side, end, line), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _read(self, side: Side, source: socket.socket, line: "queue.Queue[_Chunk]") -> None:
        """Put what comes on the line, with the time of its arrival; nothing stands for the end."""
        data = b"begun"
        while data:
            rate = self._trace(self.now_s).bits_per_s(side)
            fitting = int(rate * CHUNK_S / 8) if rate else CHUNK_BYTES
            try:
                data = source.recv(max(PACKET_BYTES, min(CHUNK_BYTES, fitting)))
            except OSError:
                data = b""
            line.put((self.due_s(side, len(data), self._clock()), data))

    def _write(self, side: Side, receiver: socket.socket, line: "queue.Queue[_Chunk]") -> None:
        """Hand over what is on the line when it is due; later chunks never overtake."""
        is_open = True
        while True:
            due_s, data = line.get()
            if is_open:
                time.sleep(max(0.0, due_s - self._clock()))
            try:
                if not data:
                    receiver.shutdown(socket.SHUT_WR)
                    return
                receiver.sendall(data)
            except OSError:
                is_open = False  # the receiver is gone: what is on the line is thrown away
                if not data:
                    return
            else:
                self.counts[f"{side}_bytes"] += len(data)
