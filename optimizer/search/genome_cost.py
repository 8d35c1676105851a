"""What a genome costs at every partition point, and whether it may, before any weight exists."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from headtail.bundle.manifest import Point, WireEncoding
from headtail.energy import Transmission, predict_compute, predict_transmission
from headtail.errors import SearchError
from headtail.tensor import TensorSpec
from headtail.wire import USUAL_ENCODINGS, Encoding, wire_specs
from optimizer.latency import FogTime, window_latency_s
from optimizer.network import BYTES_PER_VALUE, Genome
from optimizer.package.points import Profiles, predict_costs
from optimizer.partition import ENCODINGS, FOG_FACTOR, Bounds, Excess, Objective
from optimizer.search.individual import Assessment

ENERGIES = ("edge_j", "total_j")  # bounds that a search may approach from outside
BOUNDED = ("flash_bytes", "ram_bytes", *ENERGIES, "parameters", "latency_s")  # before any training


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
    fog: FogTime | None = None
    """What the fog adds to the latency, where that is known."""
    sent: dict[tuple[int, Encoding], Transmission] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    """Messages priced so far, by values and encoding: the same ones come again and again."""


class _Way(NamedTuple):
    """One point with one encoding."""

    point: int
    encoding: Encoding
    flash_bytes: int
    ram_bytes: int
    edge_j: float
    total_j: float
    parameters: int
    latency_s: float | None


def assess(genome: Genome, terms: Terms) -> Assessment:
    """Find the best partition point of `genome` exactly, by pricing all.

    What `choose` does with the points of `price`, without making any: a search asks for this very
    often. Bounds on what only a trained model shows are left out. A network far beyond what the
    device profile was fitted to is not feasible.

    Raises:
        SearchError: If the objective cannot be predicted for the profiles.
    """
    ways = _ways(genome, terms)
    parameters = ways[-1].parameters
    device = terms.profiles.devices[0]
    if device.domain is not None:
        whole = genome.footprints()[-1].operations
        if reason := device.beyond_domain(whole):
            return Assessment(False, parameters=parameters, reason=reason)
    bounded = [(n, limit) for n in BOUNDED if (limit := getattr(terms.bounds, n)) is not None]
    excesses = [_excesses(way, bounded) for way in ways]
    feasible = [way for way, broken in zip(ways, excesses, strict=True) if not broken]
    if feasible:
        best = min(feasible, key=lambda way: _rank(way, terms))
        found = best.edge_j, best.total_j, best.latency_s, parameters, best.point, best.encoding
        return Assessment(True, *found)
    worst = [max(excess.ratio for excess in broken) for broken in excesses]
    over = [i for i, broken in enumerate(excesses) if all(e.bound in ENERGIES for e in broken)]
    # Least beyond its energies or, where those alone are not the trouble, least of all misses.
    nearest = min(over or range(len(ways)), key=worst.__getitem__)
    way, broken = ways[nearest], excesses[nearest]
    texts = "; ".join(str(excess) for excess in broken)
    reason = f"point {way.point} with {way.encoding.value}: {texts}"
    if not over:
        return Assessment(False, parameters=parameters, reason=reason)
    return Assessment(
        False,
        way.edge_j,
        way.total_j,
        way.latency_s,
        parameters,
        excess=worst[nearest],
        reason=reason,
    )


def _ways(genome: Genome, terms: Terms) -> list[_Way]:
    """Return every point with every encoding, in the order of `list_rows`."""
    device = terms.profiles.devices[0]
    footprints = genome.footprints()
    last = footprints[-1]
    parameters = last.operations.parameters
    whole = predict_compute(device, last.operations)
    ways = []
    for footprint in footprints if terms.is_partitioned else footprints[-1:]:
        head = predict_compute(device, footprint.operations)
        fog_j = max(0.0, whole.joules - head.joules) / terms.fog_factor
        values = footprint.activation_values
        ram_bytes = footprint.ram_bytes if footprint.point else BYTES_PER_VALUE * values
        for encoding in ENCODINGS:
            if encoding is not Encoding.FLOAT32 and (
                footprint is last or encoding not in terms.encodings
            ):
                continue
            sent = terms.sent.get((values, encoding))
            if sent is None:
                window_bytes = _window_bytes(values, encoding)
                sent = predict_transmission(terms.profiles.links[0], window_bytes)
                terms.sent[values, encoding] = sent
            edge_j = head.joules + sent.joules
            ways.append(
                _Way(
                    footprint.point,
                    encoding,
                    footprint.flash_bytes,
                    ram_bytes,
                    edge_j,
                    edge_j + fog_j,
                    parameters,
                    window_latency_s(
                        head.seconds, sent.seconds, whole.seconds, footprint is last, terms.fog
                    ),
                )
            )
    return ways


def _excesses(way: _Way, bounded: list[tuple[str, float]]) -> list[Excess]:
    broken = []
    for name, limit in bounded:
        value = getattr(way, name)
        if value is None or value > limit:
            broken.append(Excess(name, value, limit))
    return broken


def _rank(way: _Way, terms: Terms) -> tuple[float, ...]:
    """Return what makes one way better than another: the least, as in `choose`."""
    latency_s = way.latency_s
    if terms.objective == "latency":
        if latency_s is None:
            raise SearchError(
                "partition",
                f"device profile '{terms.profiles.devices[0].name}' has no speeds, so latency"
                " cannot be the objective",
            )
        return latency_s, way.edge_j, way.point, ENCODINGS.index(way.encoding)
    costs = (way.total_j, way.edge_j) if terms.objective == "total_energy" else (way.edge_j,)
    return *costs, latency_s or 0.0, way.point, ENCODINGS.index(way.encoding)


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
        wires = [
            WireEncoding(e, _window_bytes(footprint.activation_values, e))
            for e in Encoding
            if e is Encoding.FLOAT32 or (e in encodings and not is_last)
        ]
        # With nothing to run, the window itself is what the edge holds.
        held = BYTES_PER_VALUE * footprint.activation_values
        yield Point(
            index=footprint.point,
            activation=_activation(footprint.activation_values),
            encodings=tuple(wires),
            flash_bytes=footprint.flash_bytes,
            ram_bytes=footprint.ram_bytes if footprint.point else held,
            costs=predict_costs(footprint.operations, wires, profiles),
        )


def _activation(values: int) -> tuple[TensorSpec, ...]:
    return (TensorSpec("activation", "float32", (-1, values)),)


def _window_bytes(values: int, encoding: Encoding) -> int:
    return sum(spec.window_bytes for spec in wire_specs(_activation(values), encoding))
