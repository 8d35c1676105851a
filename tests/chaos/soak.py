"""Load for a long time: does memory, or the count of descriptors or threads, grow?

A fog server, an agent whose windows end in the fog, one that runs everything itself, a client of
the Open Inference Protocol, and a visitor: an agent that comes, sends some windows, and goes.
"""

import argparse
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np

from headtail.oip import RAW_INPUT_FIELD, InferWriter
from headtail.tensor import TensorSpec
from scene import BIN, LAST_POINT, POINT, Scene, agent_command, fog, free_address, judge, make_scene

WARM_UP_SHARE = 0.2
"""Of the time, in which allocators and caches fill; the verdict looks at what follows."""
MAX_GROWTH_BYTES, MAX_GROWTH_RATIO = 2 << 20, 0.03
"""Resident memory between the first and the last quarter after the warm-up; the larger counts."""
MAX_GROWTH_COUNT = 2
"""Descriptors or threads: a visitor may be under way in one sample and not in the other."""
VISIT_EVERY_S, VISIT_WINDOWS = 20.0, 20
COLUMNS = ("rss", "fds", "threads")


@dataclass(frozen=True, slots=True)
class Sample:
    """What the system says of a process at one moment."""

    rss: int
    """Resident bytes."""
    fds: int
    threads: int


def read_process(pid: int) -> Sample:
    """Read `/proc` once."""
    folder = Path("/proc") / str(pid)
    status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
    fds = sum(1 for _ in (folder / "fd").iterdir())
    return Sample(int(status["VmRSS"].split()[0]) << 10, fds, int(status["Threads"]))


class Feeder:
    """An agent reading its standard input, fed at a pace."""

    def __init__(self, name: str, scene: Scene, flags: Sequence[str]) -> None:
        """Start the agent; its windows are the scene's, again and again."""
        self.name = name
        self._scene = scene
        self.sink = scene.folder / f"{name}.jsonl"
        self.sent = 0
        command = agent_command(scene, self.sink, "--source", "stdin", "--agent", name, *flags)
        with (scene.folder / f"{name}.log").open("wb") as log:
            self.process = subprocess.Popen(
                [BIN / command[0], *command[1:]], stdin=subprocess.PIPE, stderr=log
            )

    def feed(self) -> None:
        """Send one window."""
        assert self.process.stdin is not None
        self.process.stdin.write(self._scene.line(self.sent % len(self._scene.windows)))
        self.process.stdin.flush()
        self.sent += 1

    def finish(self) -> int:
        """End the input, wait, and return how many results were written."""
        self.process.communicate(timeout=60)
        return self.sink.read_bytes().count(b"\n")


class Unary:
    """A client that calls ModelInfer."""

    def __init__(self, address: str, scene: Scene) -> None:
        """Connect."""
        self._channel = grpc.insecure_channel(address)
        self._infer = self._channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        writer = InferWriter(
            "chain", "", (TensorSpec("x", "float32", (-1, 16, 2)),), RAW_INPUT_FIELD
        )
        self._request = writer.write("1", {}, [scene.windows[:1]])
        self.answered = 0

    def feed(self) -> None:
        """Ask once."""
        self._infer(self._request, timeout=10)
        self.answered += 1

    def close(self) -> None:
        """Hang up."""
        self._channel.close()


def paced(send: Callable[[], None], rate: float, stop: threading.Event, faults: "queue.Queue[str]"):
    """Start a thread that calls `send` at a rate until told to stop."""

    def work() -> None:
        due_s = time.monotonic()
        try:
            while not stop.wait(max(0.0, due_s - time.monotonic())):
                send()
                due_s += 1 / rate
        except (OSError, grpc.RpcError) as error:
            faults.put(f"{type(error).__name__}: {error}")

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def visit(address: str, scene: Scene, number: int) -> str:
    """Run an agent for a few windows; return what went wrong, if anything."""
    feeder = Feeder(
        f"visitor-{number % 2}", scene, [*fog_flags(address), "--existing", "overwrite"]
    )
    for _ in range(VISIT_WINDOWS):
        feeder.feed()
    feeder.finish()
    verdict = judge(scene, feeder.sink, VISIT_WINDOWS)
    return "" if verdict.is_good else f"visitor {number}: {verdict.describe()}"


def fog_flags(address: str) -> list[str]:
    """Return the flags of an agent whose windows end in the fog."""
    return ["--fog", address, "--point", str(POINT)]


def grown(samples: Sequence[Sample], column: str) -> tuple[float, float, bool]:
    """Return a column's medians, first and last quarter after the warm-up, and if it grew."""
    values = np.array([getattr(s, column) for s in samples], float)
    values = values[int(WARM_UP_SHARE * len(values)) :]
    quarter = max(1, len(values) // 4)
    first, last = float(np.median(values[:quarter])), float(np.median(values[-quarter:]))
    limit = max(MAX_GROWTH_BYTES, MAX_GROWTH_RATIO * first) if column == "rss" else MAX_GROWTH_COUNT
    return first, last, last - first > limit


def print_table(times_s: Sequence[float], tables: dict[str, list[Sample]]) -> bool:
    """Print what was sampled and what it means; return whether nothing grew."""
    names = list(tables)
    print("\n| minute |" + "".join(f" {n} MB | fds | threads |" for n in names))
    print("|---:|" + "---:|---:|---:|" * len(names))
    for i, at_s in enumerate(times_s):
        cells = "".join(
            f" {s.rss / 2**20:.1f} | {s.fds} | {s.threads} |" for s in (tables[n][i] for n in names)
        )
        print(f"| {at_s / 60:.1f} |{cells}")
    print()
    is_steady = True
    for name in names:
        for column in COLUMNS:
            first, last, has_grown = grown(tables[name], column)
            is_steady &= not has_grown
            scale, unit = (2**20, " MB") if column == "rss" else (1, "")
            word = "GREW" if has_grown else "steady"
            print(f"{name} {column}: {first / scale:.1f} -> {last / scale:.1f}{unit}: {word}")
    return is_steady


def soak(minutes: float, rate: float, samples: int, folder: Path) -> bool:
    """Run the load; print the table and the verdict; return whether all is well."""
    scene, address = make_scene(folder, 256, seed=1), free_address()
    stop, faults = threading.Event(), queue.Queue()
    with ExitStack() as stack:
        program = stack.enter_context(fog(scene, address))
        agents = [
            Feeder("agent", scene, fog_flags(address)),
            Feeder("local", scene, ["--point", str(LAST_POINT)]),
        ]
        client = Unary(address, scene)
        stack.callback(client.close)
        stack.callback(lambda: [a.process.kill() for a in agents])
        shares = [(agents[0].feed, 0.5), (agents[1].feed, 0.25), (client.feed, 0.25)]
        threads = [paced(send, rate * share, stop, faults) for send, share in shares]
        processes = {"fog": program.process.pid} | {a.name: a.process.pid for a in agents}
        times_s, tables = watch((minutes, samples), processes, address, scene, faults)
        stop.set()
        for thread in threads:
            thread.join()
        counts = [(a.name, a.sent, a.finish()) for a in agents]
    is_steady = print_table(times_s, tables)
    print(f"unary client: {client.answered} answers")
    for name, sent, written in counts:
        print(f"{name}: {sent} windows, {written} results")
    while not faults.empty():
        is_steady = False
        print(f"fault: {faults.get()}")
    is_whole = all(sent == written for _, sent, written in counts)
    print("soak: PASS" if is_steady and is_whole else "soak: FAIL")
    return is_steady and is_whole


def watch(
    times: tuple[float, int],
    processes: dict[str, int],
    address: str,
    scene: Scene,
    faults: "queue.Queue[str]",
) -> tuple[list[float], dict[str, list[Sample]]]:
    """Sample the processes until the time is over; let a visitor come now and then."""
    minutes, samples = times
    begin_s, visits = time.monotonic(), 0
    times_s: list[float] = []
    tables: dict[str, list[Sample]] = {name: [] for name in processes}
    for i in range(samples):
        due_s = begin_s + 60 * minutes * (i + 1) / samples
        while (left_s := due_s - time.monotonic()) > 0:
            if time.monotonic() - begin_s > VISIT_EVERY_S * (visits + 1):
                visits += 1
                if fault := visit(address, scene, visits):
                    faults.put(fault)
            time.sleep(min(1.0, left_s))
        times_s.append(time.monotonic() - begin_s)
        for name, pid in processes.items():
            tables[name].append(read_process(pid))
        last = "; ".join(f"{n} {t[-1].rss >> 20} MB" for n, t in tables.items())
        print(f"minute {times_s[-1] / 60:.1f}: {last}; {visits} visits", flush=True)
    return times_s, tables


def main() -> int:
    """Run the program; return its exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30.0, help="how long (default 30)")
    parser.add_argument("--rate", type=float, default=30.0, help="windows a second (default 30)")
    parser.add_argument("--samples", type=int, default=30, help="rows of the table (default 30)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        return 0 if soak(arguments.minutes, arguments.rate, arguments.samples, Path(folder)) else 1


if __name__ == "__main__":
    sys.exit(main())
