"""What a genome costs at every partition point, and whether it may, before any weight exists."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from headtail.bundle.manifest import Point, WireEncoding
from headtail.tensor import TensorSpec
from headtail.wire import USUAL_ENCODINGS, Encoding, wire_specs
from optimizer.individual import Assessment
from optimizer.network import BYTES_PER_VALUE, Genome
from optimizer.package_points import Profiles, predict_costs
from optimizer.partition import (
    FOG_FACTOR,
    Bounds,
    Objective,
    Row,
    before_training,
    choose_row,
    list_rows,
)

ENERGIES = ("edge_j", "total_j")  # bounds that a search may approach from outside


@dataclass(frozen=True, slots=True)
class Terms:
    """What decides which point of a genome is the best, and whether it will do."""

    profiles: Profiles
    bounds: Bounds
    objective: Objective
    encodings: tuple[Encoding, ...]
    fog_factor: float = FOG_FACTOR
    """How much less energy the fog needs than the edge for the same layers."""
    is_partitioned: bool = True
    """Whether any point may be taken; else everything runs on the edge."""


def assess(genome: Genome, terms: Terms) -> Assessment:
    """Find the best partition point of `genome` exactly, by pricing all.

    Bounds on what only a trained model shows are left out.

    Raises:
        SearchError: If the objective cannot be predicted for the profiles.
    """
    points = price(genome, terms.profiles, terms.encodings)
    parameters = points[-1].flash_bytes // BYTES_PER_VALUE
    names = terms.profiles.devices[0].name, terms.profiles.links[0].name
    offered = points if terms.is_partitioned else points[-1:]
    rows = list_rows(offered, before_training(terms.bounds), *names, terms.fog_factor)
    if any(row.is_feasible for row in rows):
        best = choose_row(rows, terms.objective)
        found = best.edge_j, best.total_j, best.latency_s, parameters, best.point, best.encoding
        return Assessment(True, *found)
    over = [r for r in rows if all(excess.bound in ENERGIES for excess in r.excesses)]
    # Least beyond its energies or, where those alone are not the trouble, least of all misses.
    nearest = min(over or rows, key=_excess)
    reason = f"point {nearest.point} with {nearest.encoding.value}: {nearest.reason}"
    if not over:
        return Assessment(False, parameters=parameters, reason=reason)
    return Assessment(
        False,
        nearest.edge_j,
        nearest.total_j,
        nearest.latency_s,
        parameters,
        excess=_excess(nearest),
        reason=reason,
    )


def _excess(row: Row) -> float:
    return max(excess.ratio for excess in row.excesses)


def price(
    genome: Genome, profiles: Profiles, encodings: Collection[Encoding] = USUAL_ENCODINGS
) -> tuple[Point, ...]:
    """Return every partition point between the layers of `genome`, priced like an exported model's.

    Nothing about the activations is measured: no affine, no error of an encoding, no accuracy.

    Args:
        genome: The network.
        profiles: What costs are predicted for.
        encodings: Wire encodings offered; at the last point the outputs travel as float32.
    """
    return tuple(_points(genome, profiles, encodings))


def _points(genome: Genome, profiles: Profiles, encodings: Collection[Encoding]) -> Iterator[Point]:
    footprints = genome.footprints()
    for footprint in footprints:
        is_last = footprint is footprints[-1]
        activation = (TensorSpec("activation", "float32", (-1, footprint.activation_values)),)
        wires = [
            WireEncoding(e, sum(s.window_bytes for s in wire_specs(activation, e)))
            for e in Encoding
            if e is Encoding.FLOAT32 or (e in encodings and not is_last)
        ]
        # With nothing to run, the window itself is what the edge holds.
        held = BYTES_PER_VALUE * footprint.activation_values
        yield Point(
            index=footprint.point,
            activation=activation,
            encodings=tuple(wires),
            flash_bytes=footprint.flash_bytes,
            ram_bytes=footprint.ram_bytes if footprint.point else held,
            costs=predict_costs(footprint.operations, wires, profiles),
        )
