"""A fog server with workers, on a free port, as a real program."""

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families

FOG = [sys.executable, "-m", "fog_server.cli"]
WAIT_S = 60.0


class Workers:
    """The running program; its log goes to a file, so that nothing waits for a reader."""

    def __init__(self, log: Path, *arguments: str) -> None:
        """Start it, and wait until every worker serves."""
        self.path = log
        with log.open("wb") as file:
            self.process = subprocess.Popen([*FOG, *arguments], stderr=file)
        self.address = self.said(r"supervisor: serving on (\S+)$")
        pages = re.findall(r"metrics on http://(\S+)/metrics$", self.log, re.MULTILINE)
        self.page_address = pages[0] if pages else ""

    @property
    def log(self) -> str:
        """All it has said."""
        return self.path.read_text()

    def said(self, pattern: str, count: int = 1) -> str:
        """Return the first group of the latest line that matches, once so many do."""
        give_up_at = time.monotonic() + WAIT_S
        while len(found := re.findall(pattern, self.log, re.MULTILINE)) < count:
            assert self.process.poll() is None, f"it ended: {self.log}"
            assert time.monotonic() < give_up_at, f"never said {pattern}: {self.log}"
            time.sleep(0.01)
        return found[-1]

    def pids(self) -> list[int]:
        """Return the processes of its workers."""
        children = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        return sorted({int(pid) for path in children for pid in path.read_text().split()})

    def get(self, path: str) -> tuple[int, str]:
        """Return status and text of the page's address."""
        with urlopen(f"http://{self.page_address}{path}", timeout=WAIT_S) as answer:
            return answer.status, answer.read().decode()

    def samples(self) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        """Return every sample of the page by name and labels."""
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(self.get("/metrics")[1])
            for sample in family.samples
        }

    def value(self, name: str, **labels: str) -> float:
        """Return one sample; 0 where there is none."""
        return self.samples().get((name, tuple(sorted(labels.items()))), 0.0)

    def stop(self) -> int:
        """Send SIGTERM and return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(WAIT_S)

    def close(self) -> None:
        """End it whatever it does; its workers follow."""
        self.process.kill()
        self.process.wait(WAIT_S)


@pytest.fixture
def wait_until() -> Callable[[Callable[[], bool]], None]:
    """Return what waits until something holds; a worker that begins anew loads all its bundles."""

    def wait(condition: Callable[[], bool]) -> None:
        give_up_at = time.monotonic() + WAIT_S
        while not condition():
            assert time.monotonic() < give_up_at, "waited too long"
            time.sleep(0.02)

    return wait


@pytest.fixture(scope="module")
def start_workers(tmp_path_factory, key_folder) -> Iterator[Callable[..., Workers]]:
    """Return a function that starts the program on a folder; all are ended afterwards."""
    started: list[Workers] = []
    logs = tmp_path_factory.mktemp("logs")

    def start(folder: Path, *arguments: str, count: int = 2) -> Workers:
        command = (
            "--workers", str(count), "--bundles", str(folder),
            "--trust", str(key_folder / "trust"), "--listen", "127.0.0.1:0",
            "--metrics", "127.0.0.1:0", *arguments,
        )  # fmt: skip
        started.append(Workers(logs / f"{len(started)}.log", *command))
        return started[-1]

    yield start
    for workers in started:
        workers.close()
