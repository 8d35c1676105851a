"""Bounds and page from a record made by hand: figures, verdicts, drawings, what was left out."""

import json
from pathlib import Path

import pytest

from bounds import BOUNDS, judge
from lanes import OURS, TCP, TRITON
from measure import BATCHED, EIGHT, MANY, ONE, Series
from page import write_page
from record import Record, ratio, read_record, task_record, write_record

MACHINE = {
    "cpu": "a processor", "cores": 2, "memory_bytes": 4 << 30, "system": "Linux", "python": "3.11",
    "load_average": 0.1,
}  # fmt: skip


def series(p50_us: list[float], rate: list[float], least: list[float] | None = None) -> Series:
    """Return a lane's blocks."""
    costs = [200.0 for _ in rate]
    return Series(rate, costs, costs, p50_us, least or [], [*p50_us])


def run(lanes: dict[str, Series], load: str = ONE.name, task: str = "16 KB") -> Record:
    """Return a record of one task and load."""
    described = {
        "name": task, "about": "of nothing", "activation_bytes": 16384, "left_out": {"X": "why"},
        "lost_blocks": [],
    }  # fmt: skip
    results = {(load, lane): found for lane, found in lanes.items()}
    made = task_record(described, results, 2, dict.fromkeys(lanes, 1 << 20))
    return {
        "date": "a day", "machine": MACHINE, "versions": {"headtail": {"headtail": "1"}},
        "skipped": {"kserve": "no wheel"}, "tasks": [made], "seconds": 60,
    }  # fmt: skip


def test_ratio_pairs_blocks_of_two_lanes() -> None:
    """Blocks 300/600, 500/500 and 400/500 have the median ratio 0.8."""
    record = run({OURS: series([300, 500, 400], [1]), TRITON: series([600, 500, 500], [1])})
    found = ratio(record, "16 KB", ONE.name, "p50_us", (OURS, TRITON))
    assert found is not None
    assert (0.8, 0.65, 0.9) == pytest.approx((found.median, found.low, found.high))
    assert ratio(record, "16 KB", ONE.name, "p50_us", (OURS, TCP)) is None


@pytest.mark.parametrize(
    ("ours_us", "answer"), [(850.0, "**no**"), (790.0, "yes"), (550.0, "yes, and the aim")]
)
def test_verdict_of_an_upper_bound(ours_us: float, answer: str) -> None:
    record = run({OURS: series([ours_us], [1]), TRITON: series([1000.0], [1])})
    first, *others = judge({"peers": record})
    assert answer == first.answer
    assert {"not measured"} == {verdict.answer for verdict in others}


@pytest.mark.parametrize(
    ("rate", "answer"), [(90, "**no**"), (120, "yes"), (150, "yes, and the aim")]
)
def test_verdict_of_a_lower_bound(rate: float, answer: str) -> None:
    lanes = {OURS: series([], [rate]), TRITON: series([], [100.0])}
    (verdict,) = (v for v in judge({"peers": run(lanes, EIGHT.name)}) if v.found)
    assert answer == verdict.answer
    assert "eight in flight" in verdict.bound.text


def test_page_states_every_bound_what_was_skipped_and_the_peer(tmp_path: Path) -> None:
    lanes = {OURS: series([400, 410], [1900, 2000]), TRITON: series([500, 520], [1700, 1800])}
    write_record("peers", run(lanes), tmp_path)
    text = write_page(tmp_path).read_text()
    assert all(bound.text in text for bound in BOUNDS)
    assert "Python backend" in text
    assert "**Skipped: KServe** (no wheel)" in text
    assert "**Left out: X** (why)" in text
    assert "| headtail stream | 405 |" in text
    assert "</svg>" in (tmp_path / "peers-latency.svg").read_text()


def test_record_is_json_that_reads_back(tmp_path: Path) -> None:
    record = run({OURS: series([1.0], [2.0], [0.5])}, MANY.name)
    path = write_record("bench", record, tmp_path)
    assert json.loads(path.read_text()) == record == read_record("bench", tmp_path)
    assert read_record("peers", tmp_path) is None


def test_batches_count_windows_and_not_messages() -> None:
    assert (8, 4) == (BATCHED.windows, BATCHED.in_flight)
