"""Drawings of the partition points' energies, and the chosen point under every radio model."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from headtail.ble import marginal_energy_j
from headtail.cost_model import BleLink
from headtail.energy import idle_power_w, predict_transmission
from headtail.profile import LinkProfile, list_link_profiles, read_link_profile
from headtail.wire import Encoding
from optimizer.partition import ENCODINGS, Row
from optimizer.report_chart import Key, draw_keys
from optimizer.report_svg import BEST, EDGE, FOG, INK, MUTED, RADIO, Scale, Sheet, number
from optimizer.report_text import energy_unit, show_j
from optimizer.run_summary import RunSummary

LINE, GAP, WIDTH, LEFT, RIGHT = 21.0, 9.0, 940.0, 200.0, 190.0
MEMORY = {"flash_bytes", "ram_bytes"}
COLUMNS = (46.0, 116.0, LEFT - 10)  # right ends of what stands before a bar
BREAK_RATIO = 3.0  # a bar that much longer than what it stands beside is broken off
TINTS = ("#b4560f", "#dd7f2f", "#f0a560", "#f7cfa3")  # of sending, the most exact encoding first


@dataclass(frozen=True, slots=True)
class RadioRow:
    """What sending the chosen point's payload costs over one link."""

    link: str
    mode: str
    payload_bytes: int
    head_j: float
    """Computing the head, whatever the link."""
    radio_j: float
    marginal_j: float | None
    """What the message adds to a link that is kept anyway; None where the model has no such."""
    idle_w: float
    """Power of keeping the link, in no message's energy."""
    best_point: int
    """The point with the least edge energy within the bounds on memory, over this link."""
    best_encoding: str
    best_j: float

    @property
    def edge_j(self) -> float:
        """Edge energy of one window at the chosen point."""
        return self.head_j + self.radio_j


def draw_points(summary: RunSummary) -> str:
    """Draw edge computing, sending and fog computing of every point and encoding, stacked."""
    rows = summary.rows
    longest = _longest([row.total_j for row in rows], summary.chosen.total_j)
    unit_j, unit = energy_unit(longest)
    gaps = len({row.point for row in rows}) - 1
    height = 58 + LINE * len(rows) + GAP * gaps + 48
    sheet = Sheet(WIDTH, height, "energy of every partition point and encoding")
    x = Scale(0, longest / unit_j, LEFT, WIDTH - RIGHT)
    bottom = height - 44
    for value in x.ticks(6):
        sheet.line((x(value), 44), (x(value), bottom))
        sheet.text((x(value), bottom + 16), number(value), "middle", fill=MUTED, font_size=11)
    axis = f"modelled energy of one window, {unit}"
    sheet.text(((x.start + x.end) / 2, height - 8), axis, "middle")
    for place, name in zip(COLUMNS, ("point", "encoding", "payload"), strict=True):
        sheet.text((place, 36), name, "end", fill=MUTED, font_size=11)
    sheet.text((LEFT, 36), "energy of edge + fog", fill=MUTED, font_size=11)
    encodings = dict.fromkeys(row.encoding for row in rows)
    keys = [Key("computing on the edge", EDGE, "box")]
    keys += [Key(f"sending {e.value}", _tint(e), "box") for e in encodings]
    keys += [Key(f"computing in the fog, factor {_factor(summary)}", FOG, "box")]
    draw_keys(sheet, keys, (LEFT, 16))
    y = 48.0
    for index, row in enumerate(rows):
        y += GAP if index and row.point != rows[index - 1].point else 0
        _draw_row(sheet, summary, row, (x, unit_j, y))
        y += LINE
    return sheet.svg()


def radio_rows(summary: RunSummary) -> tuple[RadioRow, ...]:
    """Return the chosen point's payload priced over the run's link and every Bluetooth link."""
    own = summary.recipe.partition.link_profile
    names = [n for n in list_link_profiles() if n.startswith("ble-")]
    links = {link.name: link for link in map(read_link_profile, dict.fromkeys((own, *names)))}
    ordered = sorted(links.values(), key=lambda link: (link.mode != "paper", link.name))
    return tuple(_radio_row(summary, link) for link in ordered)


def within_memory(summary: RunSummary) -> tuple[Row, ...]:
    """Return the rows that keep the bounds on memory, whatever their energy; the chosen is one."""
    return tuple(r for r in summary.rows if not {e.bound for e in r.excesses} & MEMORY)


def draw_radio(rows: Sequence[RadioRow]) -> str:
    """Draw computing and sending at the chosen point over every link."""
    height = 40 + 2 * LINE * len(rows) + 44
    sheet = Sheet(WIDTH, height, "cost of the chosen point by radio model")
    unit_j, unit = energy_unit(max(row.edge_j for row in rows))
    longest = max(row.edge_j for row in rows) / unit_j
    x, bottom = Scale(0, longest, LEFT, WIDTH - RIGHT), height - 42
    for value in x.ticks(6):
        sheet.line((x(value), 32), (x(value), bottom))
        sheet.text((x(value), bottom + 16), number(value), "middle", fill=MUTED, font_size=11)
    axis = f"modelled edge energy of one window, {unit}"
    sheet.text(((x.start + x.end) / 2, height - 8), axis, "middle")
    keys = [Key("computing the head", EDGE, "box"), Key("sending the message", RADIO, "box")]
    draw_keys(sheet, keys, (LEFT, 16))
    for i, row in enumerate(rows):
        y = 38 + 2 * LINE * i
        sheet.text((LEFT - 10, y + 14), row.link, "end")
        sheet.text((LEFT - 10, y + 28), f"mode {row.mode}", "end", fill=MUTED, font_size=11)
        head, end = x(row.head_j / unit_j), x(row.edge_j / unit_j)
        sheet.box((LEFT, y + 4), (head - LEFT, 24), EDGE, f"computing {show_j(row.head_j)}")
        radio = f"sending {row.payload_bytes} B: {show_j(row.radio_j)}"
        sheet.box((head, y + 4), (end - head, 24), RADIO, radio)
        sheet.text((end + 8, y + 21), show_j(row.edge_j))
    return sheet.svg()


def _draw_row(
    sheet: Sheet, summary: RunSummary, row: Row, scaled: tuple[Scale, float, float]
) -> None:
    """Draw one point's bar, its name before and its energies behind it."""
    x, unit_j, y = scaled
    is_chosen = row == summary.chosen
    names = str(row.point), row.encoding.value, f"{summary.wire_bytes(row)} B"
    weight: dict[str, object] = {"font_weight": 700, "fill": BEST} if is_chosen else {}
    faint: dict[str, object] = {} if row.is_feasible else {"fill_opacity": 0.35}
    for place, name in zip(COLUMNS, names, strict=True):
        sheet.text((place, y + 13), name, "end", **weight)
    parts = [
        (row.cost.head_j, EDGE, "computing on the edge"),
        (
            row.cost.tx_j,
            _tint(row.encoding),
            f"sending {summary.wire_bytes(row)} B as {row.encoding.value}",
        ),
        (row.fog_j, FOG, "computing in the fog"),
    ]
    ends = list(itertools.accumulate((joules for joules, _, _ in parts), initial=0.0))
    limit = x.high * unit_j
    for (joules, color, what), (start, end) in zip(parts, itertools.pairwise(ends), strict=True):
        left, right = x(min(start, limit) / unit_j), x(min(end, limit) / unit_j)
        hover = f"point {row.point}, {row.encoding.value}\n{what}: {show_j(joules)}"
        if right > left:
            sheet.box((left, y), (right - left, LINE - 4), color, hover, **faint)
    end = x(min(ends[-1], limit) / unit_j)
    if ends[-1] > limit:
        for shift in (6.0, 11.0):
            zigzag = [(end - shift, y - 1), (end - shift - 3, y + 8), (end - shift, y + LINE - 3)]
            sheet.path(zigzag, "white", 2)
    note = " ◀ chosen" if is_chosen else "" if row.is_feasible else " out of bounds"
    text = f"{show_j(row.edge_j)} + {show_j(row.fog_j)}{note}"
    style = weight or {"fill": INK if row.is_feasible else MUTED}
    sheet.text((end + 8, y + 13), text, "start", **style)


def _tint(encoding: Encoding) -> str:
    return TINTS[min(ENCODINGS.index(encoding), len(TINTS) - 1)]


def _longest(totals: Sequence[float], chosen: float) -> float:
    """Return where the axis ends: the longest bar, if that leaves the others to be seen."""
    typical = BREAK_RATIO * max(chosen, median(totals))
    return min(max(totals), typical)


def _factor(summary: RunSummary) -> str:
    return number(summary.recipe.partition.fog_factor)


def _radio_row(summary: RunSummary, link: LinkProfile) -> RadioRow:
    chosen, model = summary.chosen, link.model
    payload = summary.wire_bytes(chosen)

    def edge_j(row: Row) -> float:
        return row.cost.head_j + predict_transmission(link, summary.wire_bytes(row)).joules

    best = min(within_memory(summary), key=edge_j)
    marginal = marginal_energy_j(model, payload) if isinstance(model, BleLink) else None
    return RadioRow(
        link=link.name,
        mode=link.mode,
        payload_bytes=payload,
        head_j=chosen.cost.head_j,
        radio_j=predict_transmission(link, payload).joules,
        marginal_j=marginal,
        idle_w=idle_power_w(link),
        best_point=best.point,
        best_encoding=best.encoding.value,
        best_j=edge_j(best),
    )
