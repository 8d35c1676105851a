"""The drawings of the grid: regret over rate and round trip, and predicted against observed."""

from collections.abc import Sequence

from optimizer.report.chart import X_PIXELS, Y_PIXELS, Key, chart, draw_keys
from optimizer.report.svg import BEST, EDGE, FAINT, INK, MUTED, RADIO, Sheet, log_scale
from regret_links import KBIT, MBIT
from regret_results import REGRET_LIMIT, LinkRow

CELL, LEFT, TOP = (74.0, 44.0), 92.0, 62.0
KINDS = {"steady": EDGE, "noisy": RADIO, "stepping": BEST}
GOOD, FAIR, POOR = "#bbe5c8", "#fbe3b4", "#f4b6a6"
"""Regret up to the limit, up to twice the limit, above."""


def show_rate(rate: float) -> str:
    """Return a rate for people."""
    return f"{rate / MBIT:g} Mbit/s" if rate >= MBIT else f"{rate / KBIT:g} kbit/s"


def draw_regret(rows: Sequence[LinkRow], title: str) -> str:
    """Return the regret of the steady links as an SVG file.

    Each cell has the regret and the plan that most windows took after settling.

    Args:
        rows: Live runs with one objective.
        title: What it shows.
    """
    steady = [row for row in rows if row.kind == "steady"]
    rates = sorted({row.rate for row in steady})
    trips = sorted({row.round_trip_s for row in steady})
    width, height = LEFT + CELL[0] * len(rates) + 16, TOP + CELL[1] * len(trips) + 46
    sheet = Sheet(width, height, title)
    sheet.text((16, 24), title, font_size=13)
    for i, rate in enumerate(rates):
        sheet.text((LEFT + (i + 0.5) * CELL[0], TOP - 8), show_rate(rate), "middle", font_size=11)
    for i, trip in enumerate(trips):
        place = (LEFT - 8, TOP + (i + 0.6) * CELL[1])
        sheet.text(place, f"{1e3 * trip:g} ms", "end", font_size=11)
    for row in steady:
        x = LEFT + rates.index(row.rate) * CELL[0]
        y = TOP + trips.index(row.round_trip_s) * CELL[1]
        shares = row.phases[0].shares
        plan = max(shares, key=lambda name: shares[name]) if shares else ""
        size = (CELL[0] - 2, CELL[1] - 2)
        hover = f"{row.name}: regret {row.regret:.1%}; " + ", ".join(
            f"{name} {share:.0%}" for name, share in shares.items()
        )
        sheet.box((x + 1, y + 1), size, _shade(row.regret), hover)
        middle = x + CELL[0] / 2
        sheet.text((middle, y + 19), f"{row.regret:+.1%}", "middle", fill=INK, font_size=12)
        sheet.text((middle, y + 35), plan, "middle", fill=MUTED, font_size=9)
    keys = (
        Key(f"up to {REGRET_LIMIT:.0%}", GOOD, "box"),
        Key(f"up to {2 * REGRET_LIMIT:.0%}", FAIR, "box"),
        Key("more", POOR, "box"),
    )
    draw_keys(sheet, keys, (LEFT, height - 14))
    return sheet.svg()


def draw_prediction(rows: Sequence[LinkRow], title: str) -> str:
    """Return mean predicted against mean observed latency of every phase as an SVG file."""
    known = [
        (row, 1e3 * phase.prediction.observed_s, 1e3 * phase.prediction.predicted_s)
        for row in rows
        for phase in row.phases
        if phase.prediction is not None
    ]
    values = [value for _, *pair in known for value in pair] or [1.0, 1000.0]
    x, y = log_scale(values, X_PIXELS), log_scale(values, Y_PIXELS)
    drawn = chart(x, y, "observed latency, ms", "predicted, ms", title)
    for ratio, color in ((1.0, MUTED), (0.9, FAINT), (1.1, FAINT)):
        ends = [max(x.low, x.low / ratio), min(x.high, x.high / ratio)]
        drawn.curve([(end, end * ratio) for end in ends], color)
    for kind, color in KINDS.items():
        dots = [(seen, told, row.name) for row, seen, told in known if row.kind == kind]
        drawn.dots(dots, color)
    keys = [Key(kind, color, "circle") for kind, color in KINDS.items()]
    draw_keys(drawn.sheet, [*keys, Key("10 % off", FAINT)], (X_PIXELS[0], 20))
    return drawn.sheet.svg()


def _shade(regret: float) -> str:
    if regret <= REGRET_LIMIT:
        return GOOD
    return FAIR if regret <= 2 * REGRET_LIMIT else POOR
