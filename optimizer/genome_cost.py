"""What a genome costs at every partition point, and whether it may, before any weight exists."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import msgspec

from headtail.bundle.manifest import Point, WireEncoding
from headtail.tensor import TensorSpec
from headtail.wire import Encoding, wire_specs
from optimizer.network import BYTES_PER_VALUE, Genome
from optimizer.package_points import Profiles, predict_costs
from optimizer.partition import Bounds, Objective, before_training, choose, list_rows


class Assessment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is known of a network before any training."""

    is_feasible: bool
    edge_j: float | None = None
    """Modelled edge energy of one window at the best point, or, where the bound on it is all that
    is broken, the least; None where every point breaks another bound."""
    point: int | None = None
    """The best point, counted in layers; None where none is within the bounds."""
    encoding: Encoding | None = None
    reason: str = ""
    """Why the network is not feasible; empty where it is."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What decides which point of a genome is the best, and whether it will do."""

    profiles: Profiles
    bounds: Bounds
    objective: Objective
    encodings: tuple[Encoding, ...]


def assess(genome: Genome, terms: Terms) -> Assessment:
    """Find the best partition point of `genome` exactly, by pricing all.

    Bounds on what only a trained model shows are left out.

    Raises:
        SearchError: If the objective cannot be predicted for the profiles.
    """
    device, link = terms.profiles.devices[0].name, terms.profiles.links[0].name
    points = price(genome, terms.profiles, terms.encodings)
    bounds = before_training(terms.bounds)
    rows = list_rows(points, bounds, device, link)
    if any(row.is_feasible for row in rows):
        best = choose(points, bounds, terms.objective, device, link)
        return Assessment(True, best.cost.edge_j, best.point, best.encoding)
    over = [r for r in rows if all(excess.bound == "edge_j" for excess in r.excesses)]
    # Least energy or, where that alone is not the trouble, the least of the worst misses.
    nearest = min(
        over or rows, key=lambda r: r.edge_j if over else max(e.ratio for e in r.excesses)
    )
    reason = f"point {nearest.point} with {nearest.encoding.value}: {nearest.reason}"
    return Assessment(False, nearest.edge_j if over else None, reason=reason)


def price(
    genome: Genome, profiles: Profiles, encodings: Collection[Encoding] = tuple(Encoding)
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
