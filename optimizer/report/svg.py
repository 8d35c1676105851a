"""Drawings as SVG texts: shapes with hover texts on a sheet, and scales with round ticks.

Plain elements without identifiers, so that many drawings share a page; the same calls give the same
bytes. A shape's hover text is its `<title>`, which every browser shows.
"""

import html
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

EDGE, RADIO, FOG = "#2b6cb0", "#e8913a", "#8b6fc4"
INK, MUTED, GRID, FAINT, BEST = "#1f2937", "#6b7280", "#e5e7eb", "#b6bfcc", "#15803d"
FONT = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif"
Place = tuple[float, float]


class Sheet:
    """A drawing that grows by one element a call; measures are pixels from the top left."""

    def __init__(self, width: float, height: float, label: str) -> None:
        """Begin an empty drawing; `label` says what it shows to those who cannot see it."""
        self.width, self.height = width, height
        self._label = label
        self._elements: list[str] = []

    def line(self, start: Place, end: Place, color: str = GRID, dash: str = "") -> None:
        """Draw a thin straight line."""
        (x1, y1), (x2, y2) = start, end
        dashed = {"stroke-dasharray": dash} if dash else {}
        self._add("line", {"x1": x1, "y1": y1, "x2": x2, "y2": y2, "stroke": color, **dashed})

    def path(
        self, points: Sequence[Place], color: str, width: float = 1.8, fill: str = "none"
    ) -> None:
        """Draw straight lines from each place to the next."""
        if points:
            steps = " L".join(f"{_number(x)} {_number(y)}" for x, y in points)
            drawn = {"d": f"M{steps}", "fill": fill, "stroke": color, "stroke-width": width}
            self._add("path", {**drawn, "stroke-linejoin": "round"})

    def box(self, corner: Place, size: Place, color: str, hover: str = "", **extra: object) -> None:
        """Draw a filled rectangle from its upper left corner; less than a pixel stays visible."""
        (x, y), (width, height) = corner, size
        measures = {"x": x, "y": y, "width": max(0.0, width), "height": height, "fill": color}
        self._add("rect", {**measures, **extra}, hover)

    def dot(
        self, center: Place, radius: float, color: str, hover: str = "", **extra: object
    ) -> None:
        """Draw a filled circle."""
        measures = {"cx": center[0], "cy": center[1], "r": radius, "fill": color}
        self._add("circle", {**measures, **extra}, hover)

    def mark(
        self, center: Place, kind: str, color: str, hover: str = "", radius: float = 5.5
    ) -> None:
        """Draw one of the marks `star`, `square`, `diamond` or `circle`; all but the star outlined.

        The outline, not the colour alone, tells them apart.
        """
        corners = {"square": 4, "diamond": 4, "star": 10}.get(kind)
        if corners is None:
            self.dot(center, radius, color, hover, stroke="white")
            return
        turn = math.pi / 4 if kind == "square" else 0.0
        places = []
        for i in range(corners):
            reach = radius * (1.9 if kind == "star" else 1.25) * (0.45 if _is_dent(kind, i) else 1)
            angle = turn - math.pi / 2 + 2 * math.pi * i / corners
            places.append(
                (center[0] + reach * math.cos(angle), center[1] + reach * math.sin(angle))
            )
        text = " ".join(f"{_number(x)},{_number(y)}" for x, y in places)
        is_hollow = kind == "square"
        fill, stroke = ("white", color) if is_hollow else (color, "white")
        self._add("polygon", {"points": text, "fill": fill, "stroke": stroke}, hover)

    def text(self, place: Place, text: str, anchor: str = "start", **extra: object) -> None:
        """Write one line; `anchor` is start, middle or end, `place` the baseline's."""
        x, y = place
        given = {"font_size": 12, "fill": INK, "text_anchor": anchor, **extra}
        attributes = _attributes({"x": x, "y": y, **given})
        self._elements.append(f"<text{attributes}>{html.escape(text)}</text>")

    def svg(self) -> str:
        """Return the drawing, a whole SVG file that may also stand inside a page."""
        size = f"{_number(self.width)} {_number(self.height)}"
        head = _attributes(
            {
                "xmlns": "http://www.w3.org/2000/svg",
                "viewBox": f"0 0 {size}",
                "width": self.width,
                "height": self.height,
                "role": "img",
                "aria-label": self._label,
                "font-family": FONT,
            }
        )
        return "\n".join([f"<svg{head}>", *self._elements, "</svg>"])

    def _add(self, tag: str, attributes: Mapping[str, object], hover: str = "") -> None:
        content = f"<title>{html.escape(hover)}</title>" if hover else ""
        self._elements.append(f"<{tag}{_attributes(attributes)}>{content}</{tag}>")


@dataclass(frozen=True, slots=True)
class Scale:
    """Values from `low` to `high` laid on pixels from `start` to `end`."""

    low: float
    high: float
    start: float
    end: float
    is_log: bool = False

    def __call__(self, value: float) -> float:
        """Return the pixel of a value."""
        low, high = self.low, self.high
        if self.is_log:
            low, high, value = math.log10(low), math.log10(high), math.log10(value)
        share = (value - low) / (high - low)
        return self.start + share * (self.end - self.start)

    def ticks(self, count: int = 5) -> tuple[float, ...]:
        """Return round values within the scale, about `count` of them."""
        if self.is_log:
            return _log_ticks(self.low, self.high, count)
        return tuple(
            value for value in _round_values(self.low, self.high, count) if value <= self.high
        )


def scale(
    values: Iterable[float], pixels: tuple[float, float], floor: float | None = None
) -> Scale:
    """Return a linear scale that ends at round values; `floor`, where given, is its low end."""
    known = list(values)
    low, high = min(known), max(known)
    low = low if floor is None else floor
    if high <= low:
        low, high = (low, low + 1) if floor is not None else (low - 0.5, high + 0.5)
    step = _step(low, high, 5)
    low = low if floor is not None else math.floor(low / step + 1e-9) * step
    return Scale(low, math.ceil(high / step - 1e-9) * step, *pixels)


def log_scale(values: Iterable[float], pixels: tuple[float, float]) -> Scale:
    """Return a logarithmic scale a little wider than the values, all of which are positive."""
    known = list(values)
    return Scale(min(known) / 1.15, max(known) * 1.15, *pixels, is_log=True)


def number(value: float) -> str:
    """Return a tick's value, short."""
    return f"{value:.6g}"


def _round_values(low: float, high: float, count: int) -> list[float]:
    step = _step(low, high, count)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [i * step for i in range(first, last + 1)]


def _step(low: float, high: float, count: int) -> float:
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    return next(n * power for n in (1, 2, 2.5, 5, 10) if n * power >= raw * (1 - 1e-9))


def _log_ticks(low: float, high: float, count: int) -> tuple[float, ...]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for digits in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 7)):
        found = [d * 10.0**p for p in powers for d in digits if low <= d * 10.0**p <= high]
        if len(found) >= min(count - 1, 4):
            return tuple(found)
    linear = [value for value in _round_values(low, high, count) if value >= low]
    return tuple(linear)


def _is_dent(kind: str, i: int) -> bool:
    return kind == "star" and i % 2 == 1


def _attributes(attributes: Mapping[str, object]) -> str:
    return "".join(
        f' {name.replace("_", "-")}="{html.escape(_value(value))}"'
        for name, value in attributes.items()
    )


def _value(value: object) -> str:
    return _number(value) if isinstance(value, int | float) else str(value)


def _number(value: float) -> str:
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text in {"-0", ""} else text
