"""Choosing the partition point: price every point and encoding, take the best within bounds.

The enumeration is exact: a chain of n segments has n + 1 points, so there is nothing to search.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

import msgspec

from headtail.bundle.manifest import Cost, Point
from headtail.errors import SearchError
from headtail.profile import DeviceProfile
from headtail.wire import Encoding
from optimizer.latency import FogTime, window_latency_s

Objective = Literal["edge_energy", "total_energy", "latency"]
Limit = Annotated[float, msgspec.Meta(gt=0)]
ENCODINGS = tuple(Encoding)  # the most exact first: the last word on a tie
PARAMETER_BYTES = 4  # float32 in Flash
FOG_FACTOR = 10.0  # the first of the energy-aware NAS paper's three, Table III


class Bounds(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Limits that a point with its encoding must keep; None bounds nothing."""

    flash_bytes: Limit | None = None
    """Parameters of the head."""
    ram_bytes: Limit | None = None
    """Largest sum of tensors alive at once in the head."""
    edge_j: Limit | None = None
    """Modelled energy of one window on the edge: compute and transmission."""
    total_j: Limit | None = None
    """Modelled energy of one window on edge and fog together."""
    parameters: Limit | None = None
    """Parameters of the whole model, wherever it is cut."""
    latency_s: Limit | None = None
    """Predicted time of head and transmission; the fog's is in it only where [field] tells it."""
    accuracy: Annotated[float, msgspec.Meta(gt=0, le=1)] | None = None
    """Least accuracy of the whole model with the encoding on the wire, as measured at export."""
    wire_error: Limit | None = None
    """Largest output error that the encoding may cause, relative to the largest output."""


def within_device(bounds: Bounds, device: DeviceProfile) -> Bounds:
    """Return `bounds` with Flash and RAM limited to what the device has, where that is known."""
    return msgspec.structs.replace(
        bounds,
        flash_bytes=_lesser(bounds.flash_bytes, device.flash_bytes),
        ram_bytes=_lesser(bounds.ram_bytes, device.ram_bytes),
    )


def with_floor(bounds: Bounds, accuracy_floor: float | None) -> Bounds:
    """Return `bounds` with the accuracy of at least the floor: the chosen point keeps it too."""
    floors = [n for n in (bounds.accuracy, accuracy_floor) if n is not None]
    return msgspec.structs.replace(bounds, accuracy=max(floors, default=None))


def before_training(bounds: Bounds) -> Bounds:
    """Return `bounds` without those on what only a trained model shows."""
    return msgspec.structs.replace(bounds, accuracy=None, wire_error=None)


@dataclass(frozen=True, slots=True)
class Excess:
    """By how much a bound is broken; `value` is None where nothing predicts or measured it."""

    bound: str
    value: float | None
    limit: float

    @property
    def ratio(self) -> float:
        """How far beyond the limit, as a share of it."""
        return float("inf") if self.value is None else abs(self.value / self.limit - 1)

    def __str__(self) -> str:
        if self.value is None:
            return f"{self.bound} is unknown, its bound is {self.limit:.6g}"
        beyond = self.value - self.limit
        side = "over" if beyond > 0 else "under"
        return (
            f"{self.bound} {self.value:.6g} is {abs(beyond):.3g} {side} its bound of"
            f" {self.limit:.6g}"
        )


@dataclass(frozen=True, slots=True)
class Row:
    """One point with one encoding: what it costs, and which bounds it breaks."""

    point: int
    encoding: Encoding
    flash_bytes: int
    ram_bytes: int
    cost: Cost
    fog_j: float
    """Modelled compute energy of one window in the fog."""
    latency_s: float | None
    """Predicted latency as `optimizer.latency` has it; None where the profile has no speeds."""
    excesses: tuple[Excess, ...]

    @property
    def is_feasible(self) -> bool:
        """Whether every bound is kept."""
        return not self.excesses

    @property
    def reason(self) -> str:
        """Why the row is infeasible, in words; empty where it is feasible."""
        return "; ".join(str(excess) for excess in self.excesses)

    @property
    def edge_j(self) -> float:
        """Modelled edge energy of one window."""
        return self.cost.edge_j

    @property
    def total_j(self) -> float:
        """Modelled energy of one window on edge and fog together; the fog sends nothing."""
        return self.edge_j + self.fog_j


class Choice(NamedTuple):
    """The chosen point, its encoding and what they cost."""

    point: int
    encoding: Encoding
    cost: Cost


def list_rows(
    points: Sequence[Point],
    bounds: Bounds,
    device: str,
    link: str,
    fog_factor: float = FOG_FACTOR,
    fog: FogTime | None = None,
) -> tuple[Row, ...]:
    """Return every point with every encoding priced for a device and a link, in order.

    The fog computes what the last of the points computes more than the head, `fog_factor` times
    as efficiently as the edge. Source: energy-aware NAS with partitioning, Sec. V-B.

    Args:
        points: Points with their costs; any subset of a bundle's with the last one, without which
            the whole model and what is left for the fog are unknown.
        bounds: Limits; a row that breaks one says so.
        device: Name of the device profile.
        link: Name of the link profile.
        fog_factor: How much less energy the fog needs than the edge for the same layers.
        fog: What the fog adds to the latency, where that is known.

    Raises:
        SearchError: If no point is priced for these profiles.
    """
    priced_here = [
        (point, cost)
        for point in sorted(points, key=lambda p: p.index)
        for cost in sorted(point.costs, key=lambda c: ENCODINGS.index(c.encoding))
        if cost.device_profile == device and cost.link_profile == link
    ]
    if not priced_here:
        priced = {f"{c.device_profile} with {c.link_profile}" for p in points for c in p.costs}
        raise SearchError(
            "partition",
            f"no point is priced for device profile '{device}' with link profile '{link}';"
            f" priced: {', '.join(sorted(priced)) or 'none'}",
        )
    whole, whole_cost = priced_here[-1]
    parameters = whole.flash_bytes // PARAMETER_BYTES
    rows = []
    for point, cost in priced_here:
        fog_j = max(0.0, whole_cost.head_j - cost.head_j) / fog_factor
        latency_s = window_latency_s(cost.head_s, cost.tx_s, whole_cost.head_s, point is whole, fog)
        excesses = _excesses(point, cost, bounds, (fog_j, latency_s, parameters))
        sizes = point.flash_bytes, point.ram_bytes
        rows.append(Row(point.index, cost.encoding, *sizes, cost, fog_j, latency_s, excesses))
    return tuple(rows)


def choose(
    points: Sequence[Point],
    bounds: Bounds,
    objective: Objective,
    device: str,
    link: str,
    fog_factor: float = FOG_FACTOR,
) -> Choice:
    """Return the point and encoding with the least objective within the bounds.

    On a tie the lesser other cost wins, then the earlier point, then the more exact encoding.

    Args:
        points: Points with their costs, as `list_rows` takes them.
        bounds: Limits to keep.
        objective: What to minimise.
        device: Name of the device profile.
        link: Name of the link profile.
        fog_factor: How much less energy the fog needs than the edge for the same layers.

    Raises:
        SearchError: If no point is priced for these profiles, none is within the bounds (the
            text names the nearest miss and by how much), or the objective cannot be predicted.
    """
    rows = list_rows(points, bounds, device, link, fog_factor)
    best = choose_row(rows, objective)
    return Choice(best.point, best.encoding, best.cost)


def choose_row(rows: Sequence[Row], objective: Objective) -> Row:
    """Return the best of the rows of `list_rows`, as `choose` does.

    Raises:
        SearchError: If none is within the bounds, or the objective cannot be predicted.
    """
    if objective == "latency" and any(row.latency_s is None for row in rows):
        raise SearchError(
            "partition",
            f"device profile '{rows[0].cost.device_profile}' has no speeds, so latency cannot be"
            " the objective",
        )
    feasible = [row for row in rows if row.is_feasible]
    if not feasible:
        nearest = min(rows, key=_miss)
        raise SearchError(
            "partition",
            f"none of {len(rows)} points and encodings is within the bounds; nearest is point"
            f" {nearest.point} with {nearest.encoding.value}: {nearest.reason}",
        )
    return min(feasible, key=lambda row: _rank(row, objective))


def _lesser(limit: float | None, other: float | None) -> float | None:
    limits = [n for n in (limit, other) if n is not None]
    return min(limits, default=None)


def _rank(row: Row, objective: Objective) -> tuple[float, ...]:
    latency_s = 0.0 if row.latency_s is None else row.latency_s
    costs = {
        "edge_energy": (row.edge_j, latency_s),
        "total_energy": (row.total_j, row.edge_j, latency_s),
        "latency": (latency_s, row.edge_j),
    }
    return *costs[objective], row.point, ENCODINGS.index(row.encoding)


def _miss(row: Row) -> tuple[float, float, int, int]:
    # The worst bound decides how near a row is; the others and the order break ties.
    ratios = [excess.ratio for excess in row.excesses]
    return max(ratios), sum(ratios), row.point, ENCODINGS.index(row.encoding)


def _excesses(
    point: Point, cost: Cost, bounds: Bounds, known: tuple[float, float | None, int]
) -> tuple[Excess, ...]:
    wire, (fog_j, latency_s, parameters) = point.wire(cost.encoding), known
    values: dict[str, float | None] = {
        "flash_bytes": point.flash_bytes,
        "ram_bytes": point.ram_bytes,
        "edge_j": cost.edge_j,
        "total_j": cost.edge_j + fog_j,
        "parameters": parameters,
        "latency_s": latency_s,
        "accuracy": wire.accuracy if wire else None,
        "wire_error": wire.largest_error if wire else None,
    }
    excesses = []
    for bound, value in values.items():
        limit = getattr(bounds, bound)
        # Accuracy alone is bounded from below.
        if limit is not None and (
            value is None or (value < limit if bound == "accuracy" else value > limit)
        ):
            excesses.append(Excess(bound, value, limit))
    return tuple(excesses)
