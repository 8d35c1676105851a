"""Results as JSON: every block's value, so that any ratio can be worked out again."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from measure import Results, Series
from paired import Spread, known, paired_ratios, percentile, spread

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "benchmarks"
PERCENTS = (50, 95, 99)
Record = dict[str, Any]


def task_record(
    task: Mapping[str, Any], results: Results, rounds: int, peaks: Mapping[str, int]
) -> Record:
    """Return one task's results; `task` is what describes it."""
    loads: Record = {}
    for (load, lane), series in results.items():
        loads.setdefault(load, {})[lane] = _series(series)
    return {**task, "rounds": rounds, "peak_bytes": dict(peaks), "loads": loads}


def _series(series: Series) -> Record:
    found: Record = {
        name: [None if v is None else float(f"{v:.4g}") for v in getattr(series, name)]
        for name in ("rate", "server_us", "client_us", "p50_us", "least_share")
        if getattr(series, name)
    }
    if series.latencies_us:
        found["latency_us"] = {
            f"p{p}": float(f"{percentile(series.latencies_us, p):.4g}") for p in PERCENTS
        }
        found["requests"] = len(series.latencies_us)
    return found


def write_record(name: str, record: Record, folder: Path = FOLDER) -> Path:
    """Write one run's record and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(_lines(record) + "\n", encoding="utf-8")
    return path


def read_record(name: str, folder: Path = FOLDER) -> Record | None:
    """Return a run's record; None where there is none."""
    path = folder / f"{name}.json"
    if not path.exists():
        return None
    record: Record = json.loads(path.read_text(encoding="utf-8"))
    return record


def values(record: Record, task: str, load: str, lane: str, name: str) -> list[float]:
    """Return the blocks of one series without those lost; empty where it was not measured."""
    return known(_blocks(record, task, load, lane, name))


def _blocks(record: Record, task: str, load: str, lane: str, name: str) -> list[float | None]:
    for found in record.get("tasks", ()):
        if found["name"] == task:
            series = found["loads"].get(load, {}).get(lane, {})
            return list(series.get(name, ()))
    return []


def ratio(record: Record, task: str, load: str, name: str, lanes: tuple[str, str]) -> Spread | None:
    """Return the paired ratio of two lanes; None where one was not measured."""
    ours, theirs = (_blocks(record, task, load, lane, name) for lane in lanes)
    ratios = paired_ratios(ours, theirs)
    return spread(ratios) if ratios else None


def _lines(value: Any, depth: int = 0) -> str:
    """Return JSON with a line for each entry, and lists of numbers on one line."""
    if not isinstance(value, dict) or not value:
        return json.dumps(value, ensure_ascii=False)
    pad = " " * (depth + 1)
    entries = (f"{pad}{json.dumps(k)}: {_lines(v, depth + 1)}" for k, v in value.items())
    if depth > 5:
        entries = (f"{json.dumps(k)}: {json.dumps(v)}" for k, v in value.items())
        return "{" + ", ".join(entries) + "}"
    return "{\n" + ",\n".join(entries) + "\n" + " " * depth + "}"
