"""Programs of a site: started, killed and started again, and what its agents have answered."""

import json
import os
import re
import signal
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from proxy import Proxy

WAIT_S = 300.0


def wait_until(
    condition: Callable[[], Any], what: Callable[[], object], pause_s: float = 0.1
) -> Any:
    """Wait until a condition holds and return what it returned."""
    give_up_s = time.monotonic() + WAIT_S
    while not (found := condition()):
        assert time.monotonic() < give_up_s, what()
        time.sleep(pause_s)
    return found


def free_address() -> str:
    """Return a loopback address on which nobody listens now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


@dataclass(slots=True)
class Program:
    """A command that can be started, killed and started again; its log goes on."""

    command: Sequence[str | Path]
    log: Path
    ready: str
    """What its log says when it is ready."""
    environment: dict[str, str] = field(default_factory=dict)
    process: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        """Start it and wait until it is ready."""
        before = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as file:
            self.process = subprocess.Popen(
                self.command,
                stdout=file,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=os.environ | self.environment,
            )
        process = self.process

        def is_ready() -> bool:
            assert process.poll() is None, self.text
            return re.search(self.ready, self.text[before:]) is not None

        wait_until(is_ready, lambda: self.text, pause_s=0.05)

    def kill(self) -> None:
        """End it without a word."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Ask it to end, and wait."""
        self._end(signal.SIGTERM)

    @property
    def text(self) -> str:
        """All that it has said."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def _end(self, how: signal.Signals) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(how)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


@dataclass(slots=True)
class Agent:
    """An agent behind a link of its own."""

    name: str
    record: str
    link: Proxy
    sink: Path
    program: Program

    def results(self) -> list[dict[str, Any]]:
        """Return the whole lines of its sink."""
        text = self.sink.read_text() if self.sink.exists() else ""
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def point(self) -> object:
        """Return the partition point of its last window."""
        results = self.results()
        return results[-1]["partition_point"] if results else None

    def check_exactly_once(self) -> int:
        """Check that every window begun is in the sink once; return how many there are."""
        counts = Counter(result["sequence"] for result in self.results())
        assert sorted(counts) == list(range(len(counts))), self.name
        assert set(counts.values()) == {1}, self.name
        return len(counts)
