"""An environment for each peer, at the versions of its requirements file, made once and kept.

A peer's packages fit neither ours nor another peer's. Run as a program, it makes those named:

    python tests/peers/environments.py triton mlserver kserve
"""

import argparse
import fcntl
import hashlib
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

HERE = Path(__file__).parent
FOLDER = Path.home() / ".cache" / "headtail" / "peers"
PEERS = ("triton", "mlserver", "kserve")
Say = Callable[[str], None]


class Unavailable(Exception):
    """A peer cannot be had or started on this machine; the text says why, on one line."""


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def requirements_of(peer: str) -> Path:
    """Return the file of a peer's packages, with their hashes."""
    return HERE / f"{peer}-requirements.txt"


def environment(name: str, requirements: Path, folder: Path = FOLDER, say: Say = say) -> Path:
    """Return the interpreter of an environment, which is made where it is not.

    Args:
        name: Of the environment.
        requirements: Its packages, with hashes.
        folder: Where environments are kept, one folder each.
        say: Told what is being done.

    Raises:
        Unavailable: If the packages cannot be had.
    """
    digest = hashlib.sha256(requirements.read_bytes()).hexdigest()
    place = folder / name
    python, ready = place / "bin" / "python", place / ".ready"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f".{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two runs at once would break each other's
        if not ready.exists() or ready.read_text() != digest:
            say(f"{name}: making {place} from {requirements.name} (once; minutes)")
            began_s = time.monotonic()
            _make(name, place, requirements)
            ready.write_text(digest)
            say(f"{name}: ready after {time.monotonic() - began_s:.0f} s")
    return python


def _make(name: str, place: Path, requirements: Path) -> None:
    """Make an environment anew, with uv where it is and with pip where not."""
    shutil.rmtree(place, ignore_errors=True)
    python = place / "bin" / "python"
    options = ["--only-binary", ":all:", "--require-hashes", "-r", str(requirements)]
    if shutil.which("uv"):
        steps = [
            ["uv", "venv", "-q", "--python", sys.executable, str(place)],
            ["uv", "pip", "install", "-q", "--python", str(python), *options],
        ]
    else:
        steps = [
            [sys.executable, "-m", "venv", str(place)],
            [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", *options],
        ]
    for step in steps:
        done = subprocess.run(step, capture_output=True, text=True, check=False)
        if done.returncode:
            lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
            text = " ".join(lines[-2:])[:300]
            raise Unavailable(f"{name}: {text or 'its packages cannot be installed'}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the environments named; 1 where one cannot be had."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("peers", nargs="*", metavar="PEER", default=PEERS, help=", ".join(PEERS))
    parser.add_argument("--folder", type=Path, default=FOLDER, help=f"default: {FOLDER}")
    given = parser.parse_args(arguments)
    failed = 0
    for peer in given.peers:
        try:
            say(f"{peer}: {environment(peer, requirements_of(peer), given.folder)}")
        except Unavailable as error:
            say(f"skipped: {error}")
            failed = 1
    return failed


if __name__ == "__main__":
    sys.exit(main())
