"""The results as drawings: bars by server, a group for each task or load."""

from collections.abc import Mapping, Sequence

import tasks  # noqa: F401 - sets the path for what follows
from lanes import BARE, BATCHING, OURS, TCP, TRITON
from measure import ONE
from optimizer.report.svg import EDGE, FAINT, FOG, INK, MUTED, RADIO, Sheet, log_scale, number
from paired import spread
from record import Record, values

COLORS = {
    OURS: EDGE,
    "headtail unary": "#7aa6d6",
    TRITON: FOG,
    BATCHING: "#6b4fb0",
    "Triton unary": "#b9a8de",
    "MLServer unary": RADIO,
    "KServe unary": "#b7791f",
    TCP: FAINT,
    BARE: MUTED,
}
BAR, GAP, LABEL, WIDTH, RIGHT = 13.0, 14.0, 190.0, 760.0, 70.0
TOP, BOTTOM = 58.0, 46.0
Groups = Mapping[str, Mapping[str, float]]
"""Values by group and lane."""


def bars(title: str, unit: str, groups: Groups) -> str:
    """Return horizontal bars on a logarithmic scale as SVG.

    Args:
        title: What is drawn.
        unit: Of the values.
        groups: Values above 0; a group's bars stand together.
    """
    shown = {name: lanes for name, lanes in groups.items() if lanes}
    count = sum(map(len, shown.values()))
    height = TOP + count * BAR + len(shown) * GAP + BOTTOM
    sheet = Sheet(WIDTH, height, title)
    sheet.text((12, 22), title, font_size=14, font_weight="600")
    known = [value for lanes in shown.values() for value in lanes.values()]
    low = min(known) / 2
    x = log_scale([low, max(known)], (LABEL, WIDTH - RIGHT))
    for tick in x.ticks():
        sheet.line((x(tick), TOP - 6), (x(tick), height - BOTTOM))
        sheet.text((x(tick), height - BOTTOM + 16), number(tick), "middle", fill=MUTED)
    sheet.text(((LABEL + WIDTH - RIGHT) / 2, height - 10), unit, "middle", fill=MUTED)
    y = TOP
    for name, lanes in shown.items():
        sheet.text((12, y + BAR - 3), name, fill=INK, font_weight="600")
        for lane, value in lanes.items():
            hover = f"{name}, {lane}: {number(float(f'{value:.3g}'))} {unit}"
            sheet.box((LABEL, y), (x(value) - LABEL, BAR - 2), COLORS.get(lane, FAINT), hover)
            sheet.text((LABEL - 6, y + BAR - 3), lane, "end", fill=MUTED, font_size=10)
            text = number(float(f"{value:.3g}"))
            sheet.text((x(value) + 4, y + BAR - 3), text, font_size=10)
            y += BAR
        y += GAP
    return sheet.svg()


def by_task(record: Record, load: str, series: str) -> Groups:
    """Return medians of one series under one load, grouped by task."""
    return {task["name"]: medians(record, task["name"], load, series) for task in record["tasks"]}


def by_load(record: Record, task: str, series: str, but: Sequence[str] = ()) -> Groups:
    """Return medians of one series of one task, grouped by load."""
    for found in record["tasks"]:
        if found["name"] == task:
            loads = [load for load in found["loads"] if load not in but]
            return {load: medians(record, task, load, series) for load in loads}
    return {}


def medians(record: Record, task: str, load: str, series: str) -> dict[str, float]:
    """Return each lane's median of a series, in the order of the colours."""
    found = {lane: values(record, task, load, lane, series) for lane in COLORS}
    return {lane: spread(blocks).median for lane, blocks in found.items() if blocks}


def draw(name: str, record: Record) -> dict[str, str]:
    """Return a run's drawings by file name."""
    drawings = {
        f"{name}-latency.svg": (
            "One request in flight: median time to the answer", "microseconds",
            by_task(record, ONE.name, "p50_us"),
        ),
        f"{name}-throughput.svg": (
            "Activations of 16 KB: windows per second", "windows per second",
            by_load(record, "16 KB", "rate"),
        ),
        f"{name}-cpu.svg": (
            "One request in flight: the server's processor time", "CPU seconds per 1,000 windows",
            {
                task: {lane: value / 1e3 for lane, value in lanes.items()}
                for task, lanes in by_task(record, ONE.name, "server_us").items()
            },
        ),
    }  # fmt: skip
    return {
        file: bars(title, unit, groups)
        for file, (title, unit, groups) in drawings.items()
        if any(groups.values())
    }
