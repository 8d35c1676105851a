"""A lesson in tables: what was seen, and each constant before and after."""

from collections.abc import Iterator, Sequence

from optimizer.field.lesson import Lesson

UNKNOWN = "-"
SEEN_HEAD = (
    "point", "encoding", "windows", "from fog", "message", "head", "network", "queue", "tail",
    "total", "predicted",
)  # fmt: skip
CHANGES_HEAD = ("profile", "constant", "before", "after", "unit")


def seen_rows(lesson: Lesson) -> list[list[str]]:
    """Return a row of text per partition point and encoding that agents ran, times as means.

    The last is what the corrected profiles predict for the total.
    """
    return [
        [
            str(p.point),
            p.encoding,
            f"{p.windows:.0f}",
            f"{p.from_fog:.0f}",
            UNKNOWN if p.message_bytes is None else f"{p.message_bytes:.0f} B",
            *(
                show_s(seconds)
                for seconds in (p.head_s, p.network_s, p.queue_s, p.tail_s, p.total_s)
            ),
            show_s(lesson.predicted_s(p)),
        ]
        for p in lesson.seen.points
    ]


def change_rows(lesson: Lesson) -> list[list[str]]:
    """Return a row of text per corrected constant."""
    names = {"device": lesson.device.name, "link": lesson.link.name}
    return [
        [names[c.kind], c.constant, f"{c.before:.4g}", f"{c.after:.4g}", c.unit]
        for c in lesson.changes
    ]


def sources(lesson: Lesson) -> tuple[str, ...]:
    """Return what the constants were derived from, each once."""
    told: dict[str, list[str]] = {}
    for change in lesson.changes:
        told.setdefault(change.source, []).append(change.constant)
    return tuple(f"{', '.join(names)}: {source}" for source, names in told.items())


def fog_line(lesson: Lesson) -> str:
    """Return what the fog adds to a window."""
    fog = lesson.fog
    ratio = f"{fog.tail_ratio:.3g} times as long as the edge" if fog.tail_ratio else "unknown"
    return f"fog: queue {show_s(fog.queue_s)}; tails take {ratio}"


def trips_line(lesson: Lesson) -> str:
    """Return what is known of round trips and of windows that came to nothing."""
    seen = lesson.seen
    trips = seen.round_trips
    told = "none" if trips is None else f"{trips.count:.0f} of {show_s(trips.low_s)}"
    loss = "unknown" if seen.loss_ratio is None else f"{seen.loss_ratio:.1%}"
    return f"round trips: {told}; sent and not answered: {loss}"


def terminal_lines(lesson: Lesson) -> Iterator[str]:
    """Yield what a person wants to know."""
    seen = lesson.seen
    yield f"model {seen.model}, {seen.windows:.0f} windows in {seen.range_s} s to {seen.at}"
    yield from _columns(SEEN_HEAD, seen_rows(lesson))
    yield trips_line(lesson)
    yield fog_line(lesson)
    if lesson.changes:
        yield ""
        yield from _columns(CHANGES_HEAD, change_rows(lesson))
        yield from sources(lesson)
    yield from (f"not corrected: {reason}" for reason in lesson.kept)


def show_s(seconds: float | None) -> str:
    """Return a time with three figures in us, ms or s."""
    if seconds is None:
        return UNKNOWN
    for unit, scale in (("us", 1e-6), ("ms", 1e-3)):
        if seconds < 1000 * scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds:.3g} s"


def _columns(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    for row in (head, *rows):
        yield "  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True))
