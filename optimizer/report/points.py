"""A drawing of the energy at every partition point: edge computing, sending and fog computing."""

import itertools
from collections.abc import Sequence
from statistics import median

from headtail.wire import Encoding
from optimizer.partition import ENCODINGS
from optimizer.report.chart import Key, draw_keys
from optimizer.report.layers import LayerRow, every_cut
from optimizer.report.summary import RunSummary
from optimizer.report.svg import BEST, EDGE, FOG, INK, MUTED, Scale, Sheet, number
from optimizer.report.text import energy_unit, show_j

LINE, GAP, WIDTH, LEFT, RIGHT = 21.0, 9.0, 940.0, 226.0, 215.0
COLUMNS = {"layers": 44.0, "point": 88.0, "encoding": 150.0, "payload": LEFT - 10}  # right ends
BREAK_RATIO = 3.0  # a bar that much longer than what it stands beside is broken off
TINTS = ("#b4560f", "#dd7f2f", "#f0a560", "#f7cfa3")  # of sending, the most exact encoding first


def draw_points(summary: RunSummary) -> str:
    """Draw the energies of a cut after every layer with every encoding, stacked."""
    cuts = every_cut(summary)
    longest = _longest([cut.row.total_j for cut in cuts], summary.chosen.total_j)
    unit_j, unit = energy_unit(longest)
    gaps = len({cut.layers for cut in cuts}) - 1
    height = 58 + LINE * len(cuts) + GAP * gaps + 48
    sheet = Sheet(WIDTH, height, "energy of every partition point and encoding")
    x = Scale(0, longest / unit_j, LEFT, WIDTH - RIGHT)
    bottom = height - 44
    for value in x.ticks(6):
        sheet.line((x(value), 44), (x(value), bottom))
        sheet.text((x(value), bottom + 16), number(value), "middle", fill=MUTED, font_size=11)
    axis = f"modelled energy of one window, {unit}"
    sheet.text(((x.start + x.end) / 2, height - 8), axis, "middle")
    for name, place in COLUMNS.items():
        sheet.text((place, 36), name, "end", fill=MUTED, font_size=11)
    sheet.text((LEFT, 36), "energy of edge + fog", fill=MUTED, font_size=11)
    encodings = dict.fromkeys(cut.row.encoding for cut in cuts)
    keys = [Key("edge computing", EDGE, "box")]
    keys += [Key(f"{e.value} sent", _tint(e), "box") for e in encodings]
    keys += [Key(f"fog computing, factor {_factor(summary)}", FOG, "box")]
    draw_keys(sheet, keys, (4.0, 16.0))
    y = 48.0
    for index, cut in enumerate(cuts):
        y += GAP if index and cut.layers != cuts[index - 1].layers else 0
        _draw_cut(sheet, cut, cut.row == summary.chosen, (x, unit_j, y))
        y += LINE
    return sheet.svg()


def _draw_cut(
    sheet: Sheet, cut: LayerRow, is_chosen: bool, scaled: tuple[Scale, float, float]
) -> None:
    """Draw one cut's bar, its name before and its energies behind it."""
    (x, unit_j, y), row = scaled, cut.row
    point = "" if cut.point is None else str(cut.point)
    names = str(cut.layers), point, row.encoding.value, f"{cut.payload_bytes} B"
    weight: dict[str, object] = {"font_weight": 700, "fill": BEST} if is_chosen else {}
    faint: dict[str, object] = {} if row.is_feasible else {"fill_opacity": 0.35}
    for place, name in zip(COLUMNS.values(), names, strict=True):
        sheet.text((place, y + 13), name, "end", **weight)
    parts = [
        (row.cost.head_j, EDGE, "computing on the edge"),
        (
            row.cost.tx_j,
            _tint(row.encoding),
            f"sending {cut.payload_bytes} B as {row.encoding.value}",
        ),
        (row.fog_j, FOG, "computing in the fog"),
    ]
    ends = list(itertools.accumulate((joules for joules, _, _ in parts), initial=0.0))
    limit = x.high * unit_j
    for (joules, color, what), (start, end) in zip(parts, itertools.pairwise(ends), strict=True):
        left, right = x(min(start, limit) / unit_j), x(min(end, limit) / unit_j)
        hover = f"{cut.layers} layers on the edge, {row.encoding.value}\n{what}: {show_j(joules)}"
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
    return min(max(totals), typical) or 1e-6  # nothing costs anything where no model says so


def _factor(summary: RunSummary) -> str:
    return number(summary.recipe.partition.fog_factor)
