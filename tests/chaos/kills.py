"""SIGKILLs of the fog and of the agent at random moments while windows pass.

Afterwards the sink must hold every sequence exactly once, and every result must be the whole
model's. Run for the fog path (both are killed) and for the local one (the agent is).
"""

import argparse
import random
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from scene import BIN, LAST_POINT, POINT, Scene, agent_command, free_address, judge, make_scene

POLL_S = 0.0005
START_SHARE = 0.2
"""Of the kills strike a program while it starts."""
START_S = 1.0
"""Within so long of its start a program is killed then."""
SERVE_RATIO = 2.0
"""A fog that serves is killed within so many times the time its start took: an agent's start takes
about as long, and it must find a fog there now and then."""
LEAD = 3
"""Kills by which either program may be ahead of the other, so that both die all the way."""
LAST_SHARE = 0.95
"""Of the windows, by when the last kill of the agent is due."""


class Timeout(Exception):
    """The time that was allowed is over."""


@dataclass(slots=True)
class Balance:
    """How often each program was killed."""

    stop_s: float
    """On the monotonic clock."""
    kills: dict[str, int] = field(default_factory=dict)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def count(self, name: str) -> None:
        """Count a kill."""
        with self._changed:
            self.kills[name] += 1
            self._changed.notify_all()

    def wait_turn(self, name: str, wanted: int) -> None:
        """Wait until the others have been killed nearly as often, or as often as they shall."""
        with self._changed:
            others = [n for n in self.kills if n != name]

            def is_turn() -> bool:
                return all(
                    self.kills[o] >= min(wanted, self.kills[name] - LEAD + 1) for o in others
                )

            if not self._changed.wait_for(is_turn, max(0.0, self.stop_s - time.monotonic())):
                raise Timeout(f"{name}: {self.kills}")


class Sink:
    """How many lines a growing file holds."""

    def __init__(self, path: Path) -> None:
        """Begin at its start."""
        self.path = path
        self._offset = self.lines = 0

    def count(self) -> int:
        """Read what is new and return the number of lines; a torn line may be cut off again."""
        if self.path.exists():
            if self.path.stat().st_size < self._offset:
                self._offset = self.lines = 0
            with self.path.open("rb") as file:
                file.seek(self._offset)
                data = file.read()
            self._offset += len(data)
            self.lines += data.count(b"\n")
        return self.lines


def start(command: list[str | Path], log: Path) -> "subprocess.Popen[bytes]":
    """Start one of our programs; what it says is added to `log`."""
    with log.open("ab") as file:
        return subprocess.Popen([BIN / command[0], *command[1:]], stdout=file, stderr=file)


def kill_fogs(
    scene: Scene, address: str, wanted: int, rng: random.Random, balance: Balance
) -> "subprocess.Popen[bytes]":
    """Start and kill fogs; return the last one, which lives."""
    command = ["fog-server", "--bundles", scene.bundle.parent, "--trust", scene.trust]
    log = scene.folder / "fog.log"
    while True:
        log.write_bytes(b"")
        process = start([*command, "--listen", address], log)
        if balance.kills["fog"] >= wanted:
            return process
        started_s = time.monotonic()
        try:
            if rng.random() < START_SHARE:
                time.sleep(rng.random() * START_S)
            else:
                wait_serving(process, log, balance.stop_s)
                time.sleep(rng.random() * SERVE_RATIO * (time.monotonic() - started_s))
            balance.wait_turn("fog", wanted)
        finally:
            process.kill()
            process.wait()
        balance.count("fog")


def wait_serving(process: "subprocess.Popen[bytes]", log: Path, stop_s: float) -> None:
    """Wait until a fog serves."""
    while b"serving on" not in log.read_bytes():
        if process.poll() is not None or time.monotonic() > stop_s:
            raise Timeout(f"no fog serves: {log.read_text()[-300:]}")
        time.sleep(0.01)


def kill_agents(
    command: list[str | Path],
    sink: Sink,
    size: tuple[int, int],
    rng: random.Random,
    balance: Balance,
) -> int:
    """Start and kill agents, then let one end; return its exit status.

    Args:
        command: The agent's.
        sink: Where it writes: its lines say when the next kill is due.
        size: Windows that pass, and kills.
        rng: Draws the moments.
        balance: Counts the kills.
    """
    count, wanted = size
    moments = sorted(rng.uniform(0, LAST_SHARE * count) for _ in range(wanted))
    log = sink.path.with_suffix(".log")
    for due in moments:
        process = start(command, log)
        starts_s = time.monotonic()
        early_s = rng.random() * START_S if rng.random() < START_SHARE else None
        while process.poll() is None and sink.count() <= due:
            if early_s is not None and time.monotonic() > starts_s + early_s:
                break
            if time.monotonic() > balance.stop_s:
                process.kill()
                raise Timeout(f"agent: {balance.kills}, {sink.lines} lines")
            time.sleep(POLL_S)
        if process.poll() is not None:
            return process.returncode
        process.kill()
        process.wait()
        balance.count("agent")
        balance.wait_turn("agent", wanted)
    process = start(command, log)
    try:
        return process.wait(max(1.0, balance.stop_s - time.monotonic()))
    except subprocess.TimeoutExpired:
        process.kill()
        raise Timeout(f"last agent: {sink.count()} lines") from None


def run_path(path: str, arguments: argparse.Namespace, folder: Path) -> bool:
    """Run the kills on one path; print the counts; return whether nothing was lost or doubled."""
    rng = random.Random(arguments.seed)
    scene, address = make_scene(folder, arguments.windows, arguments.seed), free_address()
    sink = Sink(folder / "out.jsonl")
    flags = ["--source", f"npz:{scene.npz()}", "--batch", "4", "--in-flight", "4"]
    begin_s = time.monotonic()
    stop_s = begin_s + arguments.seconds
    if path == "fog":
        balance = Balance(stop_s, {"fog": 0, "agent": 0})
        flags += [
            "--fog",
            address,
            "--point",
            str(POINT),
            "--reconnect-cap-s",
            "0.5",
            "--connect-s",
            "5",
        ]
        fogs = FogThread(scene, address, arguments.kills, random.Random(rng.random()), balance)
        fogs.start()
    else:
        balance = Balance(stop_s, {"agent": 0})
        flags += ["--point", str(LAST_POINT)]
    command = agent_command(scene, sink.path, *flags)
    try:
        status = kill_agents(command, sink, (arguments.windows, arguments.kills), rng, balance)
    except Timeout as error:
        print(f"timeout: {error}")
        status = -1
    if path == "fog":
        fogs.finish()
    verdict = judge(scene, sink.path)
    log_text = sink.path.with_suffix(".log").read_text()
    print(
        f"{path} path: {balance.kills} SIGKILLs in {time.monotonic() - begin_s:.0f} s;"
        f" last agent exited {status}; {verdict.describe()}",
        flush=True,
    )
    is_full = all(n >= arguments.kills for n in balance.kills.values())
    is_good = status == 0 and verdict.is_good and is_full
    if not is_good:
        print(log_text[-2000:])
    return is_good


class FogThread(threading.Thread):
    """Kills fogs while the agents are killed elsewhere."""

    def __init__(
        self, scene: Scene, address: str, wanted: int, rng: random.Random, balance: Balance
    ) -> None:
        """Prepare."""
        super().__init__(daemon=True)
        self._arguments = scene, address, wanted, rng, balance
        self._last: subprocess.Popen[bytes] | None = None

    def run(self) -> None:
        """Kill until it is enough."""
        try:
            self._last = kill_fogs(*self._arguments)
        except Timeout as error:
            print(f"timeout: {error}")

    def finish(self) -> None:
        """End the last fog."""
        self.join()
        if self._last is not None:
            self._last.kill()
            self._last.wait()


def main() -> int:
    """Run the program; return its exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--windows", type=int, default=10_000, help="that pass (default 10,000)")
    parser.add_argument("--kills", type=int, default=100, help="of each program (default 100)")
    parser.add_argument("--path", choices=("fog", "local", "both"), default="both")
    parser.add_argument("--seconds", type=float, default=1200.0, help="at most, for each path")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    is_good = True
    for path in ("fog", "local") if arguments.path == "both" else (arguments.path,):
        with tempfile.TemporaryDirectory(prefix="kills-") as folder:
            is_good &= run_path(path, arguments, Path(folder))
    print("kills: PASS" if is_good else "kills: FAIL")
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
