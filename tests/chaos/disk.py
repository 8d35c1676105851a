"""Full disks and torn writes: nothing that was acknowledged is lost, and one line says what is so.

full: the agent writes sink and spool to a file system of a megabyte or so (a tmpfs, where this
program may mount one; elsewhere a limit on the size of a file, which strikes the same way). It must
end with exit status 1 and one line; with room again, a second run completes the sink.
torn: the agent is killed, and bytes are cut off or scribbled over at the end of the sink, of the
spool's log or of the spool. A new run must complete the sink, or refuse a damaged spool by name.
"""

import argparse
import random
import resource
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kills import Sink
from scene import BIN, LAST_POINT, Scene, agent_command, judge, make_scene

FULL_BYTES = 768 << 10
RUN_S = 120.0
MAX_TORN_BYTES = 64


@dataclass(frozen=True, slots=True)
class End:
    """How an agent ended."""

    status: int
    said: str

    @property
    def errors(self) -> list[str]:
        """Its lines of error."""
        return [line for line in self.said.splitlines() if line.startswith("error:")]


def run_agent(scene: Scene, sink: Path, limit_bytes: int | None = None) -> End:
    """Run an agent to its end.

    Args:
        scene: Its bundle and windows.
        sink: Where it writes; the spool lies beside it.
        limit_bytes: Largest file it may write; Python ignores SIGXFSZ, so a write fails.
    """

    def limit() -> None:
        assert limit_bytes is not None
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))

    name, *arguments = command(scene, sink)
    ended = subprocess.run(
        [BIN / str(name), *arguments],
        stderr=subprocess.PIPE,
        text=True,
        timeout=RUN_S,
        check=False,
        preexec_fn=limit if limit_bytes else None,
    )
    return End(ended.returncode, ended.stderr)


def command(scene: Scene, sink: Path) -> list[str | Path]:
    """Return the command of an agent that runs everything itself."""
    source = f"npz:{scene.folder / 'windows.npz'}"
    return agent_command(scene, sink, "--source", source, "--point", str(LAST_POINT))


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Path | None]:
    """Mount a tmpfs of `size` bytes, and offer to let it grow; None where that is not allowed."""
    folder.mkdir()
    options = f"size={size}"
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, check=False
    )
    try:
        yield folder if mounted.returncode == 0 else None
    finally:
        if mounted.returncode == 0:
            subprocess.run(["umount", folder], check=False)


def grow(folder: Path) -> None:
    """Let a mounted tmpfs hold more."""
    subprocess.run(["mount", "-o", "remount,size=64m", folder], check=True)


def check_full(scene: Scene, size: int) -> bool:
    """Fill the disk, then make room; print and return whether all was well."""
    with small_disk(scene.folder / f"disk-{size}", size) as disk:
        folder = disk or scene.folder / f"disk-{size}"
        sink = folder / "out.jsonl"
        first = run_agent(scene, sink, None if disk else size)
        kept = sink.read_bytes() if sink.exists() else b""
        whole = kept[: kept.rfind(b"\n") + 1]
        if disk:
            grow(disk)
        second = run_agent(scene, sink)
        verdict = judge(scene, sink)
        is_kept = sink.exists() and sink.read_bytes().startswith(whole)
    kind = "tmpfs" if disk else "file size limit"
    lines = whole.count(b"\n")
    said = first.errors or first.said[-300:]
    print(
        f"full disk ({kind} of {size >> 10} KiB): exit {first.status} after {lines} results, said"
        f" {said}; with room: exit {second.status}, {verdict.describe()}"
    )
    is_good = (
        first.status == 1
        and len(first.errors) == 1
        and "Traceback" not in first.said
        and second.status == 0
        and is_kept
        and verdict.is_good
    )
    if not is_good:
        print(second.said[-1500:])
    return is_good


def check_torn(scene: Scene, number: int, rng: random.Random) -> str:
    """Kill an agent, tear a file, run another; return what became of it.

    Raises:
        AssertionError: If something was lost, doubled, or not explained.
    """
    folder = scene.folder / f"torn-{number}"
    folder.mkdir()
    sink = folder / "out.jsonl"
    due = rng.uniform(0, 0.9 * len(scene.windows))
    name, *arguments = command(scene, sink)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([BIN / str(name), *arguments], stderr=log)
        progress = Sink(sink)
        while process.poll() is None and progress.count() <= due:
            pass
        process.kill()
        process.wait()
    torn = tear(folder, rng)
    end = run_agent(scene, sink)
    assert "Traceback" not in end.said, end.said
    verdict = judge(scene, sink)
    if end.status == 1 and torn.startswith("spool"):
        # A damaged database is refused by name; what the sink holds is untouched.
        assert len(end.errors) == 1, end.said
        assert "spool" in end.errors[0], end.errors
        assert verdict.repeated + verdict.torn + verdict.wrong == 0, verdict.describe()
        return f"{torn}: refused by name"
    assert end.status == 0, end.said
    assert verdict.is_good, f"{torn}: {verdict.describe()}"
    return f"{torn}: completed"


def tear(folder: Path, rng: random.Random) -> str:
    """Damage one of the files; return which and how."""
    files = {"sink": folder / "out.jsonl"}
    for path in sorted(folder.glob("*.spool*")):
        if path.is_file():
            files["spool log" if path.name.endswith("-wal") else path.name[-5:]] = path
    files.pop("l-shm", None)
    name = rng.choice(sorted(files))
    path = files[name]
    size = path.stat().st_size if path.exists() else 0
    if not size:
        return f"{name} (empty)"
    # The sink and the log lose their last write; only the database itself is scribbled into.
    cut = rng.randrange(1, min(size, MAX_TORN_BYTES) + 1)
    with path.open("r+b") as file:
        if name == "sink":
            # A torn write is of the last line: lines before it were synced.
            data = path.read_bytes()
            last = len(data) - (data.rstrip(b"\n").rfind(b"\n") + 1)
            cut = min(cut, max(1, last - 1))
            file.truncate(size - cut)
        elif name == "spool log":
            file.truncate(size - cut)
        else:
            file.seek(rng.randrange(0, min(size, 4096)))
            file.write(rng.randbytes(cut))
    return name


def main() -> int:
    """Run the program; return its exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--windows", type=int, default=5000, help="that pass (default 5000)")
    parser.add_argument("--torn", type=int, default=20, help="torn writes (default 20)")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    rng, is_good = random.Random(arguments.seed), True
    outcomes: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="disk-") as name:
        scene = make_scene(Path(name), arguments.windows, arguments.seed)
        scene.npz()
        for size in (FULL_BYTES, FULL_BYTES // 4):
            is_good &= check_full(scene, size)
        for i in range(arguments.torn):
            try:
                outcomes[check_torn(scene, i, rng)] += 1
            except AssertionError as error:
                is_good = False
                print(f"torn write {i}: {error}")
    for outcome, count in sorted(outcomes.items()):
        print(f"{count:4d} {outcome}")
    print("disk: PASS" if is_good else "disk: FAIL")
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
