"""What a plan is chosen from, as a table: for people and, as JSON, for programs."""

import math
from collections.abc import Mapping

import msgspec
import numpy as np

from edge_agent.partition.choose import Objective, ObjectiveName
from edge_agent.partition.live import LivePartition
from edge_agent.partition.outlook import State
from edge_agent.partition.predict import Costs, Estimates, Predictor


class Row(msgspec.Struct, frozen=True):
    """One option."""

    partition_point: int
    encoding: str
    compression: str
    head_s: float
    """Of one window, as it would be now."""
    message_bytes: int
    """Of one window; 0 where nothing is sent."""
    latency_s: float
    energy_j: float | None
    """Of the edge; null where no profile prices it."""
    accuracy: float | None
    """With this encoding; null where nobody measured it."""
    keeps_bounds: bool
    is_served: bool
    """By the fog in use."""
    is_chosen: bool


class Table(msgspec.Struct, frozen=True):
    """Every option, the best first, and what they were predicted from."""

    bundle: str
    objective: ObjectiveName
    uplink_bits_per_s: float
    round_trip_s: float
    queue_s: float
    head_ratio: float
    tail_ratio: float
    rows: tuple[Row, ...]
    switches: Mapping[str, int] = {}
    """By reason; none where nothing runs."""


def of_running(live: LivePartition) -> Table:
    """Return what a running agent decides from."""
    state = live.state()
    return _table(live.predictor, live.objective, state, dict(live.switches))


def of_link(predictor: Predictor, objective: Objective, estimates: Estimates) -> Table:
    """Return what an agent would decide from on a link of which all is known."""
    costs = predictor.predict(estimates)
    scores = objective.scores(costs)
    return _table(predictor, objective, State(estimates, costs, scores, int(np.argmin(scores))), {})


def _table(
    predictor: Predictor, objective: Objective, state: State, switches: Mapping[str, int]
) -> Table:
    estimates = state.estimates
    manifest = predictor.options[0].plan.manifest
    kept = _keeps_bounds(objective, state.costs)
    rows = []
    for i in np.argsort(state.scores, kind="stable"):
        option = predictor.options[i]
        plan = option.plan
        wire = plan.point.wire(plan.encoding)
        energy_j = float(state.costs.energy_j[i])
        rows.append(
            Row(
                plan.point.index,
                plan.encoding.value,
                plan.compression,
                option.head_s * estimates.head_ratio,
                option.message_bytes,
                float(state.costs.latency_s[i]),
                None if math.isnan(energy_j) else energy_j,
                wire.accuracy if wire else None,
                bool(kept[i]),
                math.isfinite(state.scores[i]),
                bool(i == state.current),
            )
        )
    return Table(
        f"{manifest.name} {manifest.version}",
        objective.name,
        1.0 / estimates.seconds_per_bit,
        estimates.round_trip_s,
        estimates.queue_s,
        estimates.head_ratio,
        estimates.tail_ratio,
        tuple(rows),
        switches,
    )


def _keeps_bounds(
    objective: Objective, costs: Costs
) -> "np.ndarray[tuple[int], np.dtype[np.bool]]":
    kept = costs.latency_s <= objective.latency_bound_s
    if objective.max_energy_j < math.inf:
        kept &= costs.energy_j <= objective.max_energy_j
    return kept


def render(table: Table) -> str:
    """Return a table as text, `>` before the chosen option."""
    lines = [
        f"bundle {table.bundle}, objective {table.objective}",
        f"uplink {_rate(table.uplink_bits_per_s)}, round trip {1e3 * table.round_trip_s:.3g} ms,"
        f" fog queue {1e3 * table.queue_s:.3g} ms; heads take {table.head_ratio:.3g} times as long"
        f" as at load, the fog's tails {table.tail_ratio:.3g} times as long as here",
        "",
    ]
    head = ("", "point", "encoding", "compression", "head", "sent", "latency", "energy", "accuracy")
    cells = [head, *(_cells(row) for row in table.rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    for row in cells:
        left = [cell.ljust(width) for cell, width in zip(row[:4], widths[:4], strict=True)]
        right = [cell.rjust(width) for cell, width in zip(row[4:], widths[4:], strict=True)]
        lines.append("  ".join([*left, *right]).rstrip())
    changes = [f"{reason} {count}" for reason, count in table.switches.items() if count]
    if changes:
        lines += ["", "changes of plan: " + ", ".join(changes)]
    return "\n".join(lines) + "\n"


def _cells(row: Row) -> tuple[str, ...]:
    return (
        ">" if row.is_chosen else "x" if not (row.keeps_bounds and row.is_served) else "",
        str(row.partition_point),
        row.encoding if row.message_bytes else "-",
        row.compression or "-",
        f"{1e3 * row.head_s:.2f} ms",
        f"{row.message_bytes} B",
        f"{1e3 * row.latency_s:.2f} ms",
        "-" if row.energy_j is None else f"{1e3 * row.energy_j:.4g} mJ",
        "-" if row.accuracy is None else f"{row.accuracy:.4f}",
    )


def _rate(bits_per_s: float) -> str:
    for factor, unit in ((1e6, "Mbit/s"), (1e3, "kbit/s")):
        if bits_per_s >= factor:
            return f"{bits_per_s / factor:.3g} {unit}"
    return f"{bits_per_s:.3g} bit/s"
