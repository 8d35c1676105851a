"""The self-test of a bundle in a process of its own: what kills that process kills no agent.

Run as `python -m edge_agent.update.rehearsal`; the last line of its output says how it went.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from edge_agent.update.directive import UpdateFailed
from edge_agent.update.modesty import be_modest
from headtail.fault import Fault

REHEARSAL_S, MAX_CPU_S = 600.0, 120
"""Longest self-test, and how much processor time it may take; a bundle that takes more hangs. On a
busy device the one is far from the other."""
NICENESS = 10
POLL_S = 0.05
MAX_SAID_BYTES = 1 << 16
PASSED, FAILED = "passed", "failed: "


def rehearse(
    path: Path,
    settings: Sequence[str],
    wait: Callable[[float], bool],
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Load, test and run a bundle in another process, and wait for it.

    Args:
        path: The bundle.
        settings: Folder of trusted keys, key file, partition point, encoding and threads, as in
            the configuration.
        wait: Sleeps for so many seconds; returns True when the run is to stop.
        clock: Monotonic seconds.

    Raises:
        UpdateFailed: If the bundle did not pass, crashed or hung.
    """
    module = [sys.executable, "-m", "edge_agent.update.rehearsal"]
    command = [*module, str(NICENESS), str(path), *settings]
    stop_s = clock() + REHEARSAL_S
    try:
        with tempfile.TemporaryFile() as said:
            process = subprocess.Popen(  # noqa: S603 - our own program
                command, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT
            )
            try:
                while process.poll() is None and clock() < stop_s:
                    if wait(POLL_S):
                        raise UpdateFailed(Fault.LINK, "the run ends")
            finally:
                process.kill()
                status = process.wait()
            said.seek(0)
            text = said.read(MAX_SAID_BYTES).decode(errors="replace")
    except OSError as error:
        raise UpdateFailed(Fault.STORAGE, f"self-test: cannot begin: {error.strerror}") from error
    if clock() >= stop_s:
        raise UpdateFailed(Fault.SELF_TEST, f"self-test: nothing within {REHEARSAL_S:g} s")
    _judge(status, text.strip().splitlines() or ["it said nothing"])


def _judge(status: int, lines: Sequence[str]) -> None:
    """Raise unless the process says that the bundle has passed."""
    if status == 0 and lines[-1] == PASSED:
        return
    if lines[-1].startswith(FAILED):
        raise UpdateFailed(Fault.SELF_TEST, lines[-1].removeprefix(FAILED))
    how = f"signal {-status}" if status < 0 else f"status {status}"
    reason = f"self-test: its process ended with {how}: {lines[-1][:200]}"
    raise UpdateFailed(Fault.SELF_TEST, reason)


def main() -> int:
    """Be that other process."""
    parser = argparse.ArgumentParser(prog="rehearsal")
    parser.add_argument("niceness", type=int)
    for name in ("path", "trust", "key", "point", "encoding"):
        parser.add_argument(name)
    parser.add_argument("threads", type=int)
    given = parser.parse_args()
    be_modest(given.niceness, {resource.RLIMIT_CPU: MAX_CPU_S})
    from edge_agent.loaded import load_bundle, warm_up
    from edge_agent.trust import open_trust
    from headtail.bundle import read_bundle
    from headtail.errors import HeadtailError

    try:
        bundle = read_bundle(Path(given.path), open_trust(given.trust, given.key))
        warm_up(load_bundle(bundle, (given.point, given.encoding), given.threads), bundle)
    except HeadtailError as error:
        sys.stdout.write(f"{FAILED}{error}\n")
        return 1
    except Exception as error:  # noqa: BLE001 - onnxruntime's own kinds
        text = " ".join(str(error).split())[:300]
        sys.stdout.write(f"{FAILED}{type(error).__name__}: {text}\n")
        return 1
    sys.stdout.write(f"{PASSED}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
