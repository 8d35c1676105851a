"""One connection through the proxy: bytes passed on in both directions, as the faults allow."""

import contextlib
import socket
import struct
import threading
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from proxy import Proxy

CHUNK_BYTES = 16 << 10
POLL_S = 0.05
"""How soon a thread that is blocked by a peer sees that its connection was ended."""
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER by which closing sends RST and throws away what was not sent."""
Side = Literal["up", "down"]
"""up: from the client to the target; down: back."""


class Connection:
    """A client's connection and ours to the target, with a thread for each direction."""

    def __init__(self, proxy: "Proxy", client: socket.socket, number: int) -> None:
        self.number = number
        self.cut_in: int | None = None
        """Bytes, of both directions, after which it is reset; None: never."""
        self._proxy = proxy
        self._client = client
        self._target: socket.socket | None = None
        self.is_over = False
        """Whether it was, or is to be, reset."""
        self._ended: set[Side] = set()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name=f"proxy-{number}", daemon=True)

    def start(self) -> None:
        """Connect to the target and begin to pass bytes on."""
        self._thread.start()

    def join(self) -> None:
        """Wait until it has ended."""
        self._thread.join()

    def reset(self) -> None:
        """End it with RST on both sides."""
        self.is_over = True

    def half_close(self, side: Side) -> None:
        """Say to the receiver of one direction that no more will come."""
        self._ended.add(side)
        receiver = self._target if side == "up" else self._client
        if receiver is not None:
            with contextlib.suppress(OSError):
                receiver.shutdown(socket.SHUT_WR)

    def _run(self) -> None:
        self._target = self._proxy.connect()
        if self._target is not None:
            for end in (self._client, self._target):
                end.settimeout(POLL_S)
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            down = threading.Thread(target=self._pump, args=("down",), daemon=True)
            down.start()
            self._pump("up")
            down.join()
            reset(self._target)
        # Both directions are over: where they ended in order, everything is sent and RST is late.
        reset(self._client) if self.is_over or self._target is None else self._client.close()
        self._proxy.forget(self)

    def _pump(self, side: Side) -> None:
        ends = self._client, self._target
        source, receiver = ends if side == "up" else ends[::-1]
        assert source is not None
        assert receiver is not None
        try:
            while not self.is_over:
                with contextlib.suppress(TimeoutError):
                    data = source.recv(CHUNK_BYTES)
                    if not data:
                        break
                    self._pass(data, side, receiver)
        except OSError:
            self.is_over = True  # a peer reset its side; the other is told so
        else:
            if not self.is_over:
                self.half_close(side)

    def _pass(self, data: bytes, side: Side, receiver: socket.socket) -> None:
        if not self._proxy.before_sending(self, side, len(data)):
            return
        with self._lock:
            is_cut = self.cut_in is not None and len(data) >= self.cut_in
            if self.cut_in is not None:
                data = data[: self.cut_in]
                self.cut_in -= len(data)
        if side not in self._ended:
            self._send(data, receiver)
            self._proxy.counts[f"{side}_bytes"] += len(data)
        if is_cut:
            self._proxy.counts["cut"] += 1
            self.is_over = True

    def _send(self, data: bytes, receiver: socket.socket) -> None:
        rest = memoryview(data)
        while rest and not self.is_over:
            with contextlib.suppress(TimeoutError):
                rest = rest[receiver.send(rest) :]


def reset(end: socket.socket) -> None:
    """End a connection with RST."""
    with contextlib.suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    end.close()
