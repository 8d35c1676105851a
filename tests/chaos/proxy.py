"""A TCP proxy that misbehaves when told to: between an agent and a fog, in tests and `make chaos`.

As a class: `with Proxy("127.0.0.1:8500", seed=1) as proxy: ... proxy.address ... proxy.cut(4096)`.
As a program: `python tests/chaos/proxy.py HOST:PORT [--listen HOST:PORT] [--seed N]` says where it
listens and takes the same commands from standard input, one a line (see `COMMANDS`).
"""

import argparse
import contextlib
import json
import random
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from types import MappingProxyType, TracebackType
from typing import TextIO

from proxy_connection import Connection, Side, reset

CONNECT_S = 5.0


class Proxy:
    """Accepts connections and passes bytes on, one thread a direction; any thread may command it.

    The faults last until `pass_on`, but for `drop` and `half_close`, which strike the connections
    there are at that moment. Bytes are never altered, so what arrives is always a prefix of what
    was sent.
    """

    def __init__(self, target: str, listen: str = "127.0.0.1:0", seed: int = 0) -> None:
        """Listen at once.

        Args:
            target: HOST:PORT to pass on to; may be changed by `aim` at any time.
            listen: HOST:PORT; port 0 is any free one.
            seed: Decides each connection's jitter, order and cut, in order of arrival.
        """
        self.counts: Counter[str] = Counter()
        self._target = _parse(target)
        self._rng = random.Random(seed)
        self._lock = threading.Condition()
        self._connections: set[Connection] = set()
        self._delay_s, self._jitter_s, self._reorder_s = 0.0, 0.0, 0.0
        self._bits_per_s = 0.0
        self._free_s: dict[Side, float] = {"up": 0.0, "down": 0.0}
        self._cut_bytes = 0
        self._is_held = False
        self._is_refusing = False
        self._is_closed = False
        self._listener = socket.create_server(_parse(listen))
        host, port = self._listener.getsockname()[:2]
        self.address = f"{host}:{port}"
        self._acceptor = threading.Thread(target=self._accept, name="proxy", daemon=True)
        self._acceptor.start()

    def __enter__(self) -> "Proxy":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def open(self) -> int:
        """Connections that are open now."""
        return len(self._connections)

    def pass_on(self) -> None:
        """Behave: end every lasting fault; what `black_hole` held back goes on its way."""
        with self._lock:
            self._delay_s, self._jitter_s, self._reorder_s = 0.0, 0.0, 0.0
            self._bits_per_s = 0.0
            self._cut_bytes = 0
            self._is_held = self._is_refusing = False
            for connection in self._connections:
                connection.cut_in = None
            self._lock.notify_all()

    def aim(self, target: str) -> None:
        """Pass new connections on to `target`, HOST:PORT."""
        self._target = _parse(target)

    def delay(self, seconds: float, jitter_s: float = 0.0) -> None:
        """Hold each chunk (up to 16 KiB) for so long, and up to `jitter_s` longer."""
        self._delay_s, self._jitter_s = seconds, jitter_s

    def shape(self, bits_per_s: float) -> None:
        """Carry so many bits a second in each direction, all connections together; 0: no limit."""
        self._bits_per_s = bits_per_s

    def reorder(self, seconds: float) -> None:
        """Hold each new connection for a while of up to so many seconds: later ones overtake."""
        self._reorder_s = seconds

    def black_hole(self) -> None:
        """Pass nothing on and end nothing; connections are still accepted, by nobody."""
        self._is_held = True

    def refuse(self) -> None:
        """Reset new connections; those that are open stay."""
        self._is_refusing = True

    def drop(self) -> None:
        """Reset every connection."""
        self.counts["dropped"] += len(self._each(Connection.reset))

    def half_close(self, side: Side = "up") -> None:
        """End one direction of every connection, as if its sender had finished."""
        self.counts["half_closed"] += len(self._each(lambda c: c.half_close(side)))

    def cut(self, within_bytes: int) -> None:
        """Reset each connection, open or new, after 1 to `within_bytes` more bytes: mid-message."""
        with self._lock:
            self._cut_bytes = within_bytes
            for connection in sorted(self._connections, key=lambda c: c.number):
                connection.cut_in = self._rng.randint(1, within_bytes)

    def close(self) -> None:
        """Stop listening and reset every connection."""
        with self._lock:
            self._is_closed = True
            self._lock.notify_all()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._acceptor.join()
        for connection in self._each(Connection.reset):
            connection.join()

    def before_sending(self, connection: Connection, side: Side, count: int) -> bool:
        """Wait as the faults demand; return False where the connection was ended meanwhile."""
        with self._lock:
            if self._bits_per_s:
                now_s = time.monotonic()
                free_s = max(now_s, self._free_s[side]) + 8 * count / self._bits_per_s
                self._free_s[side] = free_s
                self._lock.wait_for(lambda: connection.is_over, free_s - now_s)
            if self._delay_s or self._jitter_s:
                seconds = self._delay_s + self._rng.uniform(0.0, self._jitter_s)
                self._lock.wait_for(lambda: connection.is_over, seconds)
            self._lock.wait_for(lambda: connection.is_over or not self._is_held)
            return not connection.is_over

    def forget(self, connection: Connection) -> None:
        """Note that a connection has ended."""
        with self._lock:
            self._connections.discard(connection)

    def connect(self) -> socket.socket | None:
        """Return a connection to the target, or None where there is none to be had."""
        with self._lock:
            seconds = self._rng.uniform(0.0, self._reorder_s)
            if seconds:
                self._lock.wait_for(lambda: self._is_closed, seconds)
        try:
            return socket.create_connection(self._target, CONNECT_S)
        except OSError:
            self.counts["target_away"] += 1
            return None

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.counts["accepted"] += 1
            if self._is_refusing:
                self.counts["refused"] += 1
                reset(client)
                continue
            with self._lock:
                connection = Connection(self, client, self.counts["accepted"])
                if self._cut_bytes:
                    connection.cut_in = self._rng.randint(1, self._cut_bytes)
                self._connections.add(connection)
            connection.start()

    def _each(self, act: Callable[[Connection], None]) -> list[Connection]:
        with self._lock:
            connections = sorted(self._connections, key=lambda c: c.number)
        for connection in connections:
            act(connection)
        with self._lock:
            self._lock.notify_all()
        return connections


def _parse(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host, int(port)


COMMANDS: Mapping[str, tuple[Callable[..., None], tuple[Callable[[str], object], ...]]] = (
    MappingProxyType(
        {
            "pass": (Proxy.pass_on, ()),
            "aim": (Proxy.aim, (str,)),
            "delay": (Proxy.delay, (float, float)),
            "shape": (Proxy.shape, (float,)),
            "reorder": (Proxy.reorder, (float,)),
            "black-hole": (Proxy.black_hole, ()),
            "refuse": (Proxy.refuse, ()),
            "drop": (Proxy.drop, ()),
            "half-close": (Proxy.half_close, (str,)),
            "cut": (Proxy.cut, (int,)),
        }
    )
)
"""Each command with the kinds of its words, e.g. `delay 0.05 0.02`; `counts` prints JSON."""


def obey(proxy: Proxy, line: str) -> str:
    """Carry out one command and return what to answer."""
    name, *words = line.split()
    if name == "counts":
        return json.dumps({**proxy.counts, "open": proxy.open}, sort_keys=True)
    act, kinds = COMMANDS[name]
    act(proxy, *(kind(word) for kind, word in zip(kinds, words, strict=False)))
    return line.strip()


def main(commands: TextIO = sys.stdin, answers: TextIO = sys.stdout) -> None:
    """Serve until standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", help="HOST:PORT to pass on to")
    parser.add_argument("--listen", default="127.0.0.1:0")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with Proxy(options.target, options.listen, options.seed) as proxy:
        answers.write(f"listening on {proxy.address}\n")
        answers.flush()
        for line in commands:
            if line.strip():
                answers.write(obey(proxy, line) + "\n")
                answers.flush()


if __name__ == "__main__":
    main()
