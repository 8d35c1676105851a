"""The programs as they are started: windows per second, start-up and memory."""

import os
import re
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from programs import BIN, Program

pytestmark = [pytest.mark.bench, pytest.mark.tf]
WINDOWS, STARTS = 20_000, 5


def run_agent(bundle: Path, fog: str, flags: list[str | Path], out: Path) -> tuple[str, int]:
    """Run the agent to its end; return its log and its peak resident memory in kB."""
    command = [BIN / "edge-agent", "run", "--bundle", bundle, "--fog", fog]
    command += ["--sink", f"jsonl:{out}", "--existing", "overwrite", *flags]
    # GNU time is no part of every machine; the agent's own peak is read before it ends instead.
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    peak = 0
    while process.poll() is None:
        peak = max(peak, resident_kb(process.pid))
        time.sleep(0.02)
    log = process.communicate()[1]
    assert process.returncode == 0, log
    return log, peak


def resident_kb(pid: int) -> int:
    """Return the peak resident memory of a process, 0 once it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    match = re.search(r"VmHWM:\s+(\d+)", status)
    return int(match[1]) if match else 0


def cpu_s(pid: int) -> float:
    """Return the processor time that a process has taken, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def logged_s(log: str, text: str) -> float:
    """Return when a line of the agent's log was written, in seconds of the day."""
    match = re.search(rf"(\d+):(\d+):(\d+),(\d+) .*{text}", log)
    assert match, log
    hours, minutes, seconds, milliseconds = map(int, match.groups())
    return 3600 * hours + 60 * minutes + seconds + milliseconds / 1e3


def test_windows_per_second(
    bundle_path: Path, windows_path: Path, fog: Program, fog_address: str, tmp_path: Path
) -> None:
    """Print the agent's rate as fast as it can, and the fog's processor time for a window.

    A tail's own time is in it, and small for this bundle: what a window costs beside it.
    """
    with np.load(windows_path) as file:
        x = np.resize(file["x"], (WINDOWS, *file["x"].shape[1:]))
    np.savez(tmp_path / "many.npz", x=x)
    print(f"\n{WINDOWS} windows over the stream, source to sink")
    for batch in (1, 8, 32):
        out = tmp_path / "results.jsonl"
        flags = ["--source", f"npz:{tmp_path / 'many.npz'}", "--batch", str(batch)]
        before_s = cpu_s(fog.process.pid)
        log, peak = run_agent(bundle_path, fog_address, flags, out)
        fog_us = 1e6 * (cpu_s(fog.process.pid) - before_s) / WINDOWS
        lines = out.read_bytes().count(b"\n")
        assert lines == WINDOWS
        rate = WINDOWS / (logged_s(log, "done:") - logged_s(log, "ready:"))
        print(
            f"  up to {batch:2} a message: {rate:6.0f} windows/s; peak {peak / 1024:.0f} MB;"
            f" fog {fog_us:.0f} us of CPU a window"
        )


def test_start_up(bundle_path: Path, fog_address: str, tmp_path: Path) -> None:
    """Print the time from the start of the agent to its line `ready`, and its memory then."""
    seconds, memory = [], []
    for i in range(STARTS):
        start = time.perf_counter()
        process = subprocess.Popen(
            [
                *(BIN / "edge-agent", "run", "--bundle", bundle_path, "--fog", fog_address),
                *("--source", "stdin", "--sink", f"jsonl:{tmp_path / f'{i}.jsonl'}"),
                *("--metrics", "127.0.0.1:0"),
            ],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr is not None
        assert process.stdin is not None
        for line in process.stderr:
            if "ready:" in line:
                break
        seconds.append(time.perf_counter() - start)
        memory.append(resident_kb(process.pid) / 1024)
        process.communicate()
        assert process.returncode == 0
    print(f"\nedge-agent: ready after {np.median(seconds):.2f} s (median of {STARTS}),")
    print(f"  slowest {max(seconds):.2f} s; resident {max(memory):.0f} MB with a metrics page")
