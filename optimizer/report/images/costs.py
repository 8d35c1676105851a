"""Tables of what shares of trained layers and of retained channels cost."""

from optimizer.package.table import format_amount, format_bytes
from optimizer.report.tables import UNKNOWN, Table
from optimizer.training.costs import CostsRecord, RetainedShare


def trained_table(record: CostsRecord) -> Table:
    """Return a row for every share of trained layers."""
    head = ["trained layers", "layers", "parameters", "operations", "measured energy"]
    head += ["an epoch", "modelled energy of it", "validation"]
    rows = [
        [
            f"{100 * row.share:.0f} %",
            str(row.layers),
            f"{row.parameters:,}",
            format_amount(row.flops, "FLOP"),
            ", ".join(f"{format_amount(j, 'J')} ({name})" for name, j in row.measured_j.items())
            or UNKNOWN,
            format_amount(row.epoch_s, "s"),
            format_amount(row.modelled_j, "J"),
            f"{100 * row.accuracy:.1f} %",
        ]
        for row in record.trained
    ]
    return Table("trained layers", head, rows)


def retained_table(record: CostsRecord) -> Table:
    """Return a row for every share of retained channels, and one of the run's own model."""
    head = ["retained channels", "channels", "ONNX file", "parameters", "FLOPs of an image"]
    head += ["latency, quartiles", "validation"]
    rows = [_cells(f"{100 * row.share:.0f} %", row) for row in record.retained]
    if record.own is None:
        return Table("retained channels", head, rows)
    own = _cells(f"this run, {100 * record.own.share:.0f} %", record.own)
    return Table("retained channels", head, [*rows, own], 1)


def _cells(name: str, row: RetainedShare) -> list[str]:
    return [
        name,
        str(row.channels),
        format_bytes(row.onnx_bytes),
        f"{row.parameters:,}",
        format_amount(2.0 * row.macs, "FLOP"),
        f"{1e3 * row.latency_s:.3g} ms, {1e3 * row.low_s:.3g} to {1e3 * row.high_s:.3g}",
        f"{100 * row.accuracy:.1f} %",
    ]
