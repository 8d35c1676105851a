"""A small program in the place of `optimizer run`: it goes on where it was and ends the same way.

Its recipe's `task` says what it does: how many steps of how many milliseconds, and what happens at
the last.
"""

import hashlib
import os
import signal
import sys
import time
import tomllib
from pathlib import Path

from optimizer.progress_event import EventWriter, RunFailed, RunFinished


def main(recipe: Path, run: Path) -> int:
    """Make a file out of a chain of digests, a step at a time."""
    words = dict(w.split("=") for w in tomllib.loads(recipe.read_text())["task"].split())
    steps, pause_s = int(words.get("steps", 3)), float(words.get("ms", 1)) / 1e3
    writer = EventWriter(sys.stdout)
    run.mkdir(exist_ok=True)
    history = run / "history"
    with writer.stage("chain") as advance:
        while (done := len(lines(history))) < steps:
            chain = hashlib.sha256("".join(lines(history)).encode()).hexdigest()
            with history.open("a") as file:
                file.write(chain + "\n")
            advance(done + 1, steps, f"at {chain[:8]}")
            time.sleep(pause_s)
    return end(words.get("end", "well"), run, writer)


def lines(path: Path) -> list[str]:
    """Return the whole lines of a file; a torn one is cut off."""
    if not path.exists():
        return []
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        os.truncate(path, whole)
    return content[:whole].decode().splitlines()


def end(how: str, run: Path, writer: EventWriter) -> int:
    """End as asked."""
    if how == "error":
        writer.write(RunFailed("no such data"))
        return 1
    if how == "mute":
        sys.stderr.write("something broke\n")
        return 3
    if how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "memory":
        held = bytearray(64 << 20)
        time.sleep(60 + len(held) % 2)
    if how == "family":  # two processes that must not be left behind
        for _ in range(2):
            if os.fork() == 0:
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                time.sleep(60)
        time.sleep(60)
    if how == "nothing":
        return 0
    writer.say("done")
    content = (run / "history").read_bytes()
    (run / "chain-1.bundle").write_bytes(content)
    (run / "report.json").write_bytes(b"{}")
    writer.write(RunFinished(str(run / "chain-1.bundle"), hashlib.sha256(content).hexdigest()))
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
