"""Charts: axes with a grid, lines, and keys to their colours, on a sheet."""

from collections.abc import Sequence
from dataclasses import dataclass

from optimizer.report.svg import INK, MUTED, Place, Scale, Sheet, number

WIDTH, HEIGHT = 480.0, 320.0
LEFT, RIGHT, TOP, BOTTOM = 62.0, 16.0, 34.0, 50.0
X_PIXELS, Y_PIXELS = (LEFT, WIDTH - RIGHT), (HEIGHT - BOTTOM, TOP)


@dataclass(frozen=True, slots=True)
class Key:
    """One entry of a chart's key."""

    name: str
    color: str
    kind: str = "line"
    """Of what is drawn before the name: `line`, `box`, `tick`, or a mark of the sheet."""


@dataclass(frozen=True, slots=True)
class Chart:
    """A sheet with two axes."""

    sheet: Sheet
    x: Scale
    y: Scale

    def place(self, x: float, y: float) -> Place:
        """Return where a pair of values lies."""
        return self.x(x), self.y(y)

    def curve(self, points: Sequence[tuple[float, float]], color: str) -> None:
        """Draw a line through pairs of values."""
        self.sheet.path([self.place(x, y) for x, y in points], color)

    def dots(self, points: Sequence[tuple[float, float, str]], color: str) -> None:
        """Draw a dot with its hover text at each pair of values."""
        for x, y, hover in points:
            self.sheet.dot(self.place(x, y), 3.5, color, hover)

    def limit(self, x: float, name: str) -> None:
        """Draw a bound of the horizontal axis, where it lies within."""
        if self.x.low <= x <= self.x.high:
            place = self.x(x)
            self.sheet.line((place, self.y.start), (place, self.y.end), MUTED, "4 3")
            is_right = place > (self.x.start + self.x.end) / 2
            anchor, shift = ("end", -4.0) if is_right else ("start", 4.0)
            self.sheet.text(
                (place + shift, self.y.start - 6), name, anchor, fill=MUTED, font_size=11
            )


def chart(x: Scale, y: Scale, x_name: str, y_name: str, label: str, x_ticks: bool = True) -> Chart:
    """Return an empty chart with its axes, ticks and grid drawn.

    Args:
        x: The horizontal axis, laid on X_PIXELS or wider.
        y: The vertical axis, laid on Y_PIXELS or higher.
        x_name: What the horizontal axis measures, with its unit.
        y_name: What the vertical axis measures, with its unit.
        label: What the chart shows.
        x_ticks: Whether the horizontal axis has values.
    """
    sheet = Sheet(x.end + RIGHT, y.start + BOTTOM, label)
    for value in y.ticks():
        place = y(value)
        sheet.line((x.start, place), (x.end, place))
        sheet.text((x.start - 7, place + 4), number(value), "end", fill=MUTED, font_size=11)
    for value in x.ticks() if x_ticks else ():
        place = x(value)
        sheet.line((place, y.start), (place, y.start + 5), MUTED)
        sheet.text((place, y.start + 18), number(value), "middle", fill=MUTED, font_size=11)
    sheet.line((x.start, y.start), (x.end, y.start), MUTED)
    sheet.text(((x.start + x.end) / 2, sheet.height - 12), x_name, "middle")
    middle = (y.start + y.end) / 2
    turned = f"rotate(-90 14 {middle:g})"
    sheet.text((14, middle), y_name, "middle", transform=turned)
    return Chart(sheet, x, y)


def draw_keys(sheet: Sheet, keys: Sequence[Key], start: Place) -> None:
    """Write what the colours mean, in one row that begins at `start`."""
    x, y = start
    for key in keys:
        if key.kind == "line":
            sheet.path([(x, y - 4), (x + 16, y - 4)], key.color)
        elif key.kind == "box":
            sheet.box((x + 2, y - 10), (12, 12), key.color)
        elif key.kind == "tick":
            sheet.box((x + 8, y - 8), (1.5, 8), key.color)
        else:
            sheet.mark((x + 8, y - 4), key.kind, key.color, radius=4.5)
        sheet.text((x + 21, y), key.name, fill=INK, font_size=11)
        x += 34 + 6.8 * len(key.name)
