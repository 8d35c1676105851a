"""Ten times what a server can do, from many streams: what it answers, how fast, in what memory."""

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

import pytest

from programs import Program, running

LOAD = Path(__file__).with_name("load.py")
STREAMS, QUEUED, DEADLINE_S = 32, 16, 1.0
DRAIN_S = 4.0
BATCH = 4  # windows a message: tens of milliseconds, beside which refusing costs nothing
MIB = 1 << 20
# What a stream may have sent ahead (fog_server.server), and noise of the allocator.
STREAM_BYTES, NOISE_BYTES = 1 * MIB, 32 * MIB
CONFIG = f"""
[inference]
max_running = 1
max_queued = {QUEUED}
max_batch = 8192
[wire]
max_agents = {STREAMS}
drain_s = {DRAIN_S}
"""


@dataclass(frozen=True)
class Fog:
    """A server in a process of its own."""

    program: Program
    address: str
    metrics_address: str

    def memory_bytes(self, field: str = "VmHWM") -> int:
        """Return its resident memory: now (VmRSS), or the most there ever was."""
        status = Path(f"/proc/{self.program.process.pid}/status").read_text()
        return int(re.search(rf"{field}:\s+(\d+) kB", status)[1]) * 1024

    def refused(self) -> dict[str, int]:
        """Return how many windows it says it did not run, by reason."""
        with urlopen(f"http://{self.metrics_address}/metrics", timeout=10) as page:
            text = page.read().decode()
        rows = re.findall(r'^fog_refused_windows_total\{reason="(\w+)"\} (\S+)$', text, re.M)
        return {reason: int(float(number)) for reason, number in rows}

    def load(self, **options: object) -> "subprocess.Popen[str]":
        """Begin to load it; `finish` returns the figures."""
        settings = {"deadline_ms": round(DEADLINE_S * 1e3), "batch": BATCH} | options
        flags = [f"--{n.replace('_', '-')}={v}" for n, v in settings.items() if v is not True]
        flags += [f"--{n}" for n, v in settings.items() if v is True]
        return subprocess.Popen(
            [sys.executable, LOAD, self.address, *flags], stdout=subprocess.PIPE, text=True
        )


def finish(load: "subprocess.Popen[str]") -> dict[str, object]:
    """Return the figures of a load that was begun."""
    text, _ = load.communicate(timeout=120)
    assert load.returncode == 0
    return json.loads(text)


@pytest.fixture
def fog(write_test_bundle, key_folder: Path, tmp_path: Path) -> Iterator[Fog]:
    """Return a server of slow tails with one slot."""
    for model in ("slow", "chain"):
        write_test_bundle(tmp_path, model)
    (tmp_path / "fog.toml").write_text(CONFIG)
    flags = ["--bundles", tmp_path, "--trust", key_folder / "trust"]
    flags += ["--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0"]
    command = ["fog-server", *flags, "--config", tmp_path / "fog.toml"]
    with running(command, tmp_path / "fog.log") as program:
        metrics = program.wait_for(r"metrics on http://(\S+)/metrics")
        yield Fog(program, program.wait_for(r"serving on (\S+)$"), metrics)


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Return what shows a line of figures whatever pytest captures."""

    def show(text: str) -> None:
        with capsys.disabled():
            sys.stdout.write(f"\n{text}\n")

    return show


def capacity_of(fog: Fog, seconds: float) -> float:
    """Return the messages a second that are answered when there is always one more."""
    outcomes = finish(fog.load(streams=4, rate=100, seconds=seconds))["outcomes"]
    return outcomes["OK"] / seconds


@pytest.mark.parametrize("seconds", [4.0, pytest.param(60.0, marks=pytest.mark.slow)])
def test_ten_times_the_capacity_is_refused_in_bounded_memory(fog, say, seconds) -> None:
    """Every window has an answer, what is accepted is in time, and all agents get their share."""
    capacity = capacity_of(fog, 2.0)
    before, refused_before = fog.memory_bytes(), sum(fog.refused().values())
    rate = 10 * capacity / STREAMS
    figures = finish(fog.load(streams=STREAMS, rate=rate, seconds=seconds))
    grown = fog.memory_bytes() - before
    outcomes, shares = figures["outcomes"], figures["ok_by_agent"].values()
    say(
        f"capacity {capacity:.0f} messages/s, offered {rate * STREAMS:.0f}: {outcomes}"
        f"; accepted p50 {figures['p50_s']} s, p99 {figures['p99_s']} s of {DEADLINE_S} s"
        f", in the server p99 {figures['served_p99_s']:.3f} s"
        f"; memory +{grown / MIB:.1f} MiB; messages of an agent {min(shares)} to {max(shares)}"
        f"; refused {fog.refused()}"
    )
    assert sum(outcomes.values()) == int(seconds * rate) * STREAMS
    assert set(outcomes) <= {"OK", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED", "UNANSWERED"}
    assert outcomes.get("UNANSWERED", 0) == 0
    refused = sum(fog.refused().values()) - refused_before
    assert refused == BATCH * (sum(outcomes.values()) - outcomes["OK"])
    # No collapse: what is left goes to refusing, and to the load, which runs here as well.
    assert outcomes["OK"] >= 0.1 * capacity * seconds
    # What would begin to run too late never runs; the run itself may take longer than foreseen.
    assert figures["longest_wait_s"] <= DEADLINE_S
    assert figures["served_p99_s"] <= 2 * DEADLINE_S
    if outcomes.get("RESOURCE_EXHAUSTED"):
        assert figures["least_delay_ms"] >= 1
    assert grown <= STREAMS * STREAM_BYTES + NOISE_BYTES
    # A busy machine answers too few for everybody's to be alike.
    if outcomes["OK"] >= 5 * STREAMS:
        assert min(shares) >= 0.4 * outcomes["OK"] / STREAMS


def test_agent_with_many_streams_gets_one_agents_share(fog, say) -> None:
    """Sixteen streams under one name leave the others what is theirs."""
    seconds, capacity = 4.0, capacity_of(fog, 2.0)
    # Each of the five asks for more than the server has, whatever machine this is.
    greedy = fog.load(name="greedy", agents=1, streams=16, rate=capacity / 4, seconds=seconds)
    modest = fog.load(name="modest", streams=4, rate=capacity, seconds=seconds)
    shares = finish(greedy)["ok_by_agent"] | finish(modest)["ok_by_agent"]
    say(f"capacity {capacity:.0f} messages/s, messages answered: {shares}")
    assert min(shares.values()) >= 0.5 * shares["greedy-0"]


@pytest.mark.slow
def test_large_messages_ten_times_over_stay_within_the_streams_bound(fog, say) -> None:
    """What agents send ahead waits with them and not in the server."""
    options = {"model": "chain", "batch": 8192, "streams": STREAMS, "deadline_ms": 300}
    message_bytes = 8192 * 16 * 2 * 4
    finish(fog.load(**options, rate=1, seconds=2))
    before = fog.memory_bytes()
    peaks = []
    for _ in range(3):
        figures = finish(fog.load(**options, rate=40, seconds=4))
        peaks.append((fog.memory_bytes() - before) / MIB)
    say(f"{message_bytes / MIB:.0f} MiB messages: {figures['outcomes']}; memory +{peaks} MiB")
    # Read, decoded and on its way into the next: three copies at most.
    assert peaks[-1] * MIB <= STREAMS * (STREAM_BYTES + 3 * message_bytes) + NOISE_BYTES


@pytest.mark.slow
def test_agents_that_honour_the_delay_are_refused_less(fog, say) -> None:
    """The same load, polite: as much is answered with a fraction of the refusals."""
    figures, rate = {}, 10 * capacity_of(fog, 2.0) / STREAMS
    for name, options in (("rude", {}), ("polite", {"polite": True})):
        figures[name] = finish(fog.load(streams=STREAMS, rate=rate, seconds=5, **options))
        say(f"{name}: {figures[name]['outcomes']}, p99 {figures[name]['p99_s']} s")
    rude, polite = figures["rude"]["outcomes"], figures["polite"]["outcomes"]
    assert polite["RESOURCE_EXHAUSTED"] <= 0.7 * rude["RESOURCE_EXHAUSTED"]
    assert polite["OK"] >= 0.6 * rude["OK"]


def test_drain_under_overload_ends_every_stream_between_two_windows(fog, say) -> None:
    """Agents that go on sending are no reason to cut a window short, nor to stay."""
    rate = 10 * capacity_of(fog, 2.0) / 16
    refused_before = sum(fog.refused().values())
    load = fog.load(streams=16, rate=rate, seconds=8)
    give_up_at = time.monotonic() + 20
    while sum(fog.refused().values()) == refused_before:
        assert time.monotonic() < give_up_at
    began = time.monotonic()
    fog.program.process.send_signal(signal.SIGTERM)
    assert fog.program.process.wait(timeout=30) == 0
    took_s = time.monotonic() - began
    figures = finish(load)
    say(f"drained in {took_s:.1f} s of {DRAIN_S} s: {figures['outcomes']}")
    assert not [outcome for outcome in figures["outcomes"] if outcome.startswith("STREAM")]
    assert "stopped with windows unanswered" not in fog.program.text
