"""The real `edge-agent run` beside the real fog: time and processor time of a window, memory, rest.

Windows of 64 numbers come in as JSON lines and results leave as JSON lines; the head makes an
activation of 256 KB of each. So processor time outside the head is all else that the program does.
"""

import json
import math
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort

from lanes import own_fog
from paired import percentile, spread
from processes import cpu_s, status_number, tree_cpu_s, tree_switches
from programs import BIN
from tasks import POINT, Task

WARM_UP, WINDOWS, ROUNDS = 200, 600, 7
FEW, RUSH = 500, 3500
IDLE_S = 6.0
ANSWER_S = 30.0


@dataclass(frozen=True, slots=True)
class EdgeFigures:
    """What was seen of the program; processor time in microseconds a window."""

    activation_bytes: int
    windows: int
    latency_us: dict[str, float]
    """Window to outputs, one in flight, as the program says: p50, p95, p99."""
    cpu_us: list[float]
    """Of the program, one in flight, a value for each block."""
    head_us: list[float]
    """Of the head alone in onnxruntime, measured between these blocks."""
    outside_head_us: list[float]
    """The difference, block by block."""
    rush_cpu_us: float
    """Of the program with as many windows as it can take, from a file to a file."""
    rush_windows_per_s: float
    peak_bytes: int
    resident_bytes: int
    """At rest after the windows."""
    idle_cpu_ratio: float
    """Share of a core that the connected program takes with nothing to do."""
    idle_switches_per_s: float
    fog_idle_cpu_ratio: float


def measure_edge(task: Task, work: Path, cores: tuple[int, int]) -> EdgeFigures:
    """Run the program against our fog and return what was seen.

    Args:
        task: Whose bundle runs, cut at its one inner point.
        work: Folder for logs and files.
        cores: The program's and the fog's.
    """
    with own_fog(task, work / "fog", cores[1]) as (lane, _):
        fog = lane.target(1).address
        rush_us, rate = _rush(task, work, fog)
        with _agent(task, work, fog, cores[0]) as agent:
            _exchange(agent, WARM_UP)
            head = _head(task)
            latencies: list[float] = []
            cpu_us, head_us = [], []
            for _ in range(ROUNDS):
                head_us.append(_head_us(head))
                before_s = cpu_s(agent.pid)
                latencies += _exchange(agent, WINDOWS)
                cpu_us.append(1e6 * (cpu_s(agent.pid) - before_s) / WINDOWS)
            peak = status_number(agent.pid, "VmHWM") << 10
            time.sleep(1.0)
            before_s, switches = cpu_s(agent.pid), tree_switches(agent.pid)
            fog_s = tree_cpu_s(lane.program.process.pid)
            time.sleep(IDLE_S)
            return EdgeFigures(
                activation_bytes=task.activation_bytes,
                windows=len(latencies),
                latency_us={f"p{p}": 1e6 * percentile(latencies, p) for p in (50, 95, 99)},
                cpu_us=cpu_us,
                head_us=head_us,
                outside_head_us=[a - b for a, b in zip(cpu_us, head_us, strict=True)],
                rush_cpu_us=rush_us,
                rush_windows_per_s=rate,
                peak_bytes=peak,
                resident_bytes=status_number(agent.pid, "VmRSS") << 10,
                idle_cpu_ratio=(cpu_s(agent.pid) - before_s) / IDLE_S,
                idle_switches_per_s=(tree_switches(agent.pid) - switches) / IDLE_S,
                fog_idle_cpu_ratio=(tree_cpu_s(lane.program.process.pid) - fog_s) / IDLE_S,
            )


def shown(figures: EdgeFigures) -> str:
    """Return the figures as a few lines for the terminal."""
    f = figures
    return (
        f"edge-agent run, {f.activation_bytes >> 10} KB activation, one in flight: window to"
        f" outputs p50 {f.latency_us['p50']:.0f} us, p99 {f.latency_us['p99']:.0f} us\n"
        f"  CPU {spread(f.cpu_us).text(0)} us a window, head {spread(f.head_us).text(0)},"
        f" outside it {spread(f.outside_head_us).text(0)}\n"
        f"  file to file: {f.rush_windows_per_s:.0f} windows/s, {f.rush_cpu_us:.0f} us a window\n"
        f"  peak {f.peak_bytes / 2**20:.0f} MiB; at rest {f.idle_cpu_ratio:.2%} of a core,"
        f" {f.idle_switches_per_s:.0f} switches/s; the fog {f.fog_idle_cpu_ratio:.2%}"
    )


def as_record(figures: EdgeFigures) -> dict[str, object]:
    """Return the figures for JSON."""
    return asdict(figures)


def _command(task: Task, fog: str) -> list[str | Path]:
    command = [BIN / "edge-agent", "run", "--bundle", task.bundle_path, "--fog", fog]
    # A machine that is busy with something else must not make windows end on the edge.
    return [*command, "--point", str(POINT), "--encoding", "float32", "--deadline-s", "30"]


@contextmanager
def _agent(task: Task, work: Path, fog: str, core: int) -> Iterator["subprocess.Popen[bytes]"]:
    """Run the program with pipes at both ends, and end it."""
    flags = ["--source", "stdin", "--sink", "stdout", "--metrics", "127.0.0.1:0"]
    command = ["taskset", "-c", str(core), *_command(task, fog), *flags]
    with (work / "agent.log").open("wb") as log:
        agent = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)
    try:
        yield agent
    finally:
        assert agent.stdin is not None
        agent.stdin.close()
        try:
            agent.wait(ANSWER_S)
        except subprocess.TimeoutExpired:
            agent.kill()
            agent.wait()


def _exchange(agent: "subprocess.Popen[bytes]", windows: int) -> list[float]:
    """Send windows one by one, each when the last one's result is there; return latencies.

    Raises:
        RuntimeError: If a window was not answered by the fog at the one inner point.
    """
    assert agent.stdin is not None
    assert agent.stdout is not None
    line = json.dumps([round(math.sin(i), 4) for i in range(64)]).encode() + b"\n"
    seconds = []
    for _ in range(windows):
        agent.stdin.write(line)
        agent.stdin.flush()
        answer = agent.stdout.readline()
        result = json.loads(answer) if answer else {}
        ran = result.get("where"), result.get("partition_point"), result.get("encoding")
        if ran != ("fog", POINT, "float32"):
            raise RuntimeError(f"expected a window answered by the fog, received {answer[:200]!r}")
        seconds.append(result["latency_s"])
    return seconds


def _head(task: Task) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return ort.InferenceSession(
        task.bundle.segments[0], options, providers=["CPUExecutionProvider"]
    )


def _head_us(head: ort.InferenceSession) -> float:
    """Return the processor time of one run of the head alone, in microseconds."""
    x = np.ones((1, 64), np.float32)
    names = [output.name for output in head.get_outputs()]
    start_s = time.process_time()
    for _ in range(WINDOWS):
        head.run(names, {"x": x})
    return 1e6 * (time.process_time() - start_s) / WINDOWS


def _rush(task: Task, work: Path, fog: str) -> tuple[float, float]:
    """Return microseconds of processor time a window, and windows per second, from file to file.

    What the program's start costs is in both runs and drops out.
    """
    used = []
    for count in (FEW, FEW + RUSH):
        windows = work / f"{count}.npz"
        np.savez(windows, x=np.ones((count, 64), np.float32))
        sink = work / f"{count}.jsonl"
        flags = ["--source", f"npz:{windows}", "--sink", f"jsonl:{sink}", "--spool", "off"]
        start_s, before_s = time.monotonic(), _children_s()
        subprocess.run([*_command(task, fog), *flags], check=True, capture_output=True)
        used.append((_children_s() - before_s, time.monotonic() - start_s))
    cpu = used[1][0] - used[0][0]
    wall = used[1][1] - used[0][1]
    return 1e6 * cpu / RUSH, RUSH / wall


def _children_s() -> float:
    """Return the processor time of ended child processes."""
    import resource

    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
