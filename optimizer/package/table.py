"""The partition points of a manifest as a table for the terminal."""

from rich.table import Table

from headtail.bundle.manifest import Cost, Manifest, Point
from headtail.bundle.offers import keeps_floor

BELOW_FLOOR = "!"
_UNITS = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "u"), (1e-9, "n"))


def points_table(manifest: Manifest) -> Table:
    """Return a row per partition point, encoding and pair of profiles; the default is marked."""
    pairs = list(dict.fromkeys(_pair(c) for p in manifest.points for c in p.costs))
    title = f"{manifest.name} {manifest.version}: partition points"
    table = Table(title=f"{title} on {pairs[0]}" if len(pairs) == 1 else title)
    has_accuracy = any(e.accuracy is not None for p in manifest.points for e in p.encodings)
    table.add_column("", no_wrap=True)
    table.add_column("crosses", no_wrap=True, ratio=1)
    quality = "accuracy" if has_accuracy else "error"
    for column in ("encoding", "sent", "flash", "RAM", "head", "edge", quality):
        table.add_column(column, no_wrap=True, justify="left" if column == "encoding" else "right")
    if len(pairs) > 1:
        table.add_column("device, link")
    default = (manifest.default_point, manifest.default_encoding)
    for point in manifest.points:
        for cost in point.costs:
            is_default = (point.index, cost.encoding) == default
            cells = _cells(point, cost, has_accuracy)
            cells[0] += "*" if is_default else ""
            wire = point.wire(cost.encoding)
            if wire is not None and not keeps_floor(manifest, wire):
                cells[-1] += BELOW_FLOOR
            cells += [_pair(cost)] if len(pairs) > 1 else []
            table.add_row(*cells, style="bold" if is_default else None)
        table.add_section()
    table.caption = "* the default; edge: modelled energy of one window, compute and sending"
    if manifest.accuracy_floor is not None:
        floor = f"below the accuracy floor of {manifest.accuracy_floor:.1%}"
        table.caption += f"\n{BELOW_FLOOR} {floor}: agents never pick it"
    return table


def _pair(cost: Cost) -> str:
    return f"{cost.device_profile}, {cost.link_profile}"


def format_bytes(count: float) -> str:
    """Return a number of bytes in KiB or MiB, as device memories are stated."""
    if count < 1024:
        return f"{count:.0f} B"
    return f"{count / 1024:.1f} KiB" if count < 1 << 20 else f"{count / (1 << 20):.1f} MiB"


def format_amount(value: float | None, unit: str) -> str:
    """Return a value with three digits and a prefix: 0.00012 s is `120 us`; None is a dash."""
    if value is None:
        return "-"
    size, prefix = next((u for u in _UNITS if value >= u[0]), _UNITS[-1])
    return f"{value / size:.3g} {prefix}{unit}" if value else f"0 {unit}"


def _cells(point: Point, cost: Cost, has_accuracy: bool) -> list[str]:
    wire = point.wire(cost.encoding)
    assert wire is not None, "costs are made from the encodings"
    quality = f"{wire.largest_error:.1e}"
    if has_accuracy:
        quality = "-" if wire.accuracy is None else f"{wire.accuracy:.1%}"
    names = [s.name for s in point.activation]
    shown = ", ".join(names) if len(names) <= 2 else f"{names[0]} and {len(names) - 1} more"
    return [
        str(point.index),
        shown,
        cost.encoding.value,
        format_bytes(wire.bytes),
        format_bytes(point.flash_bytes),
        format_bytes(point.ram_bytes),
        format_amount(cost.head_s, "s"),
        format_amount(cost.edge_j, "J"),
        quality,
    ]
