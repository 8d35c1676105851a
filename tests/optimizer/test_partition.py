"""The chosen point is the exact minimum within the bounds, or the nearest miss is named."""

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headtail.bundle.manifest import Cost, Point, WireEncoding
from headtail.energy import predict_compute, predict_transmission
from headtail.errors import SearchError
from headtail.profile import read_device_profile, read_link_profile
from headtail.tensor import TensorSpec
from headtail.wire import Encoding
from optimizer.network import Genome, HeadFootprint
from optimizer.partition import Bounds, Choice, choose, list_rows, within_device

DEVICE, LINK = "stm32l4r5-int8", "ble-1m"
ENCODINGS = (Encoding.FLOAT32, Encoding.FLOAT16, Encoding.INT8)
# head_s, head_j, tx_s, tx_j of a point at float32.
Terms = tuple[float | None, float, float, float]


def point(index: int, terms: Terms, flash_bytes: int = 0, ram_bytes: int = 0) -> Point:
    """Return a point; float16 and int8 send for a half and a quarter of what float32 takes."""
    head_s, head_j, tx_s, tx_j = terms
    return Point(
        index=index,
        activation=(TensorSpec("a", "float32", (-1, 4)),),
        encodings=tuple(
            WireEncoding(e, 16 // share, accuracy=0.9 - share / 100, largest_error=share / 1000)
            for e, share in zip(ENCODINGS, (1, 2, 4), strict=True)
        ),
        flash_bytes=flash_bytes,
        ram_bytes=ram_bytes,
        costs=tuple(
            Cost(DEVICE, LINK, "packet", e, head_s, head_j, tx_s / share, tx_j / share)
            for e, share in zip(ENCODINGS, (1, 2, 4), strict=True)
        ),
    )


POINTS = (
    point(0, (0.0, 0.0, 0.8, 8e-3)),
    point(1, (0.1, 1e-3, 0.4, 4e-3), flash_bytes=100, ram_bytes=800),
    point(2, (0.5, 5e-3, 0.1, 1e-3), flash_bytes=900, ram_bytes=800),
)


def pick(bounds: Bounds | None = None, objective: str = "edge_energy") -> Choice:
    """Return the choice among the three points."""
    return choose(POINTS, bounds or Bounds(), objective, DEVICE, LINK)


def test_least_edge_energy_wins() -> None:
    """Point 0, 1 and 2 with int8 cost 2, 2 and 5.25 mJ; the tie goes to the lesser latency."""
    choice = pick()
    assert (0, Encoding.INT8) == (choice.point, choice.encoding)
    assert choice.cost == POINTS[0].costs[2]


def test_a_choice_unpacks() -> None:
    """Point, encoding, cost."""
    index, encoding, cost = pick()
    assert (0, Encoding.INT8, 2e-3) == (index, encoding, cost.edge_j)


def test_least_latency_wins() -> None:
    """0.2 s at both points 0 and 1 with int8; the tie goes on to energy, then to the earlier."""
    assert (0, Encoding.INT8) == pick(objective="latency")[:2]


def test_a_full_tie_goes_to_the_earlier_point_and_the_more_exact_encoding() -> None:
    """Nothing is left to chance or to the order in which points come."""
    free = (point(2, (0.0, 0.0, 0.0, 0.0)), point(1, (0.0, 0.0, 0.0, 0.0)))
    chosen = choose(free, Bounds(), "edge_energy", DEVICE, LINK)
    assert (1, Encoding.FLOAT32) == chosen[:2]


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        (Bounds(accuracy=0.88), (1, Encoding.FLOAT16)),
        (Bounds(wire_error=0.0015), (1, Encoding.FLOAT32)),
        (Bounds(ram_bytes=1), (0, Encoding.INT8)),
        (Bounds(flash_bytes=99, accuracy=0.89), (0, Encoding.FLOAT32)),
        (Bounds(latency_s=0.2), (0, Encoding.INT8)),
    ],
)
def test_bounds_are_kept(bounds: Bounds, expected: tuple[int, Encoding]) -> None:
    """The best of what is left."""
    assert expected == pick(bounds)[:2]


def test_a_bound_met_exactly_is_kept() -> None:
    """A limit is what may be reached."""
    assert 0 == pick(Bounds(edge_j=2e-3)).point


def test_nearest_miss_is_named() -> None:
    """Which point, which bound, by how much."""
    message = (
        "^partition: none of 9 points and encodings is within the bounds; nearest is point 0 with"
        r" int8: edge_j 0.002 is 0.0005 over its bound of 0.0015$"
    )
    with pytest.raises(SearchError, match=message):
        pick(Bounds(edge_j=1.5e-3))


def test_nearest_miss_names_every_broken_bound() -> None:
    """All that stands in the way, and from which side."""
    message = (
        r"nearest is point 0 with int8: edge_j 0.002 is 0.0001 over its bound of 0.0019;"
        r" accuracy 0.86 is 0.03 under its bound of 0.89$"
    )
    with pytest.raises(SearchError, match=message):
        pick(Bounds(edge_j=1.9e-3, accuracy=0.89))


def test_latency_without_speeds_is_refused_as_objective() -> None:
    """The paper's device has energies only."""
    slow = (point(1, (None, 1e-3, 0.1, 1e-3)),)
    with pytest.raises(SearchError, match="has no speeds, so latency cannot be the objective"):
        choose(slow, Bounds(), "latency", DEVICE, LINK)


def test_what_is_unknown_keeps_no_bound() -> None:
    """A latency that nobody can predict is not within any limit."""
    slow = (point(1, (None, 1e-3, 0.1, 1e-3)),)
    with pytest.raises(SearchError, match="latency_s is unknown, its bound is 5"):
        choose(slow, Bounds(latency_s=5.0), "edge_energy", DEVICE, LINK)


def test_profiles_that_were_not_priced_are_named_with_those_that_were() -> None:
    """A manifest carries costs for the profiles it was made with."""
    message = (
        "^partition: no point is priced for device profile 'abacus' with link profile 'ble-1m';"
        " priced: stm32l4r5-int8 with ble-1m$"
    )
    with pytest.raises(SearchError, match=message):
        choose(POINTS, Bounds(), "edge_energy", "abacus", LINK)


def test_rows_list_everything_in_order() -> None:
    """Every point with every encoding, feasible or with its reason."""
    rows = list_rows(POINTS[::-1], Bounds(edge_j=2.5e-3), DEVICE, LINK)
    assert [(p, e) for p in (0, 1, 2) for e in ENCODINGS] == [(r.point, r.encoding) for r in rows]
    assert [2, 5] == [i for i, row in enumerate(rows) if row.is_feasible]
    assert ("", "edge_j 0.008 is 0.0055 over its bound of 0.0025") == (
        rows[2].reason,
        rows[0].reason,
    )
    assert (100, 800, 0.5) == (rows[3].flash_bytes, rows[3].ram_bytes, rows[3].latency_s)


@pytest.mark.parametrize("field", ["flash_bytes", "ram_bytes", "edge_j", "latency_s"])
@pytest.mark.parametrize("limit", [0.0, -1.0])
def test_a_bound_that_nothing_can_keep_is_refused(field: str, limit: float) -> None:
    """Bounds come from recipes."""
    with pytest.raises(msgspec.ValidationError, match="Expected `float` > 0"):
        msgspec.convert({field: limit}, type=Bounds)


@pytest.mark.parametrize(
    ("device", "bounds", "expected"),
    [
        ("stm32l476-paper", Bounds(), Bounds(flash_bytes=1048576, ram_bytes=131072)),
        ("stm32l476-paper", Bounds(ram_bytes=8192), Bounds(flash_bytes=1048576, ram_bytes=8192)),
        ("stm32l476-paper", Bounds(1e9, 1e9, 1.0), Bounds(1048576, 131072, 1.0)),
        ("raspberry-pi-4", Bounds(ram_bytes=8192), Bounds(ram_bytes=8192)),
    ],
)
def test_a_device_bounds_what_fits_it(device: str, bounds: Bounds, expected: Bounds) -> None:
    """The lesser of what is asked for and what is there; the unknown bounds nothing."""
    assert expected == within_device(bounds, read_device_profile(device))


AMOUNT = st.floats(0, 10)
MANY = st.lists(
    st.tuples(AMOUNT, AMOUNT, AMOUNT, AMOUNT, st.integers(0, 9), st.integers(0, 9)), min_size=1
).map(lambda rows: tuple(point(i, row[:4], *row[4:]) for i, row in enumerate(rows)))
LIMIT = st.none() | st.floats(0.5, 10)


@given(
    points=MANY,
    bounds=st.builds(Bounds, flash_bytes=LIMIT, ram_bytes=LIMIT, edge_j=LIMIT, latency_s=LIMIT),
    objective=st.sampled_from(["edge_energy", "total_energy", "latency"]),
    factor=st.floats(0.1, 100),
)
def test_choice_is_the_brute_force_minimum(
    points: tuple[Point, ...], bounds: Bounds, objective: str, factor: float
) -> None:
    """No point within the bounds is better; if there is none, the choice is refused."""
    whole_j = max(points, key=lambda p: p.index).costs[0].head_j

    def value(cost: Cost) -> float:
        fog_j = max(0.0, whole_j - cost.head_j) / factor
        values = (cost.edge_j, cost.edge_j + fog_j, cost.head_s + cost.tx_s)
        return values[["edge_energy", "total_energy", "latency"].index(objective)]

    values = [
        value(cost)
        for p in points
        for cost in p.costs
        if p.flash_bytes <= (bounds.flash_bytes or math.inf)
        and p.ram_bytes <= (bounds.ram_bytes or math.inf)
        and cost.edge_j <= (bounds.edge_j or math.inf)
        and cost.head_s + cost.tx_s <= (bounds.latency_s or math.inf)
    ]
    if not values:
        with pytest.raises(SearchError, match="nearest is point"):
            choose(points, bounds, objective, DEVICE, LINK, factor)
        return
    assert min(values) == value(choose(points, bounds, objective, DEVICE, LINK, factor).cost)


def paper_point(footprint: HeadFootprint) -> Point:
    """Return a genome's point priced by the paper's own profiles."""
    device, link = read_device_profile("stm32l476-paper"), read_link_profile("ble-paper")
    sent_bytes = 4 * footprint.activation_values
    head = predict_compute(device, footprint.operations)
    sent = predict_transmission(link, sent_bytes)
    cost = Cost(
        device_profile=device.name,
        link_profile=link.name,
        mode=link.mode,
        encoding=Encoding.FLOAT32,
        head_s=head.seconds,
        head_j=head.joules,
        tx_s=sent.seconds,
        tx_j=sent.joules,
    )
    return Point(
        index=footprint.point,
        activation=(TensorSpec("a", "float32", (-1, footprint.activation_values)),),
        encodings=(WireEncoding(Encoding.FLOAT32, sent_bytes),),
        flash_bytes=footprint.flash_bytes,
        ram_bytes=footprint.ram_bytes,
        costs=(cost,),
    )


def test_sd_1_is_cut_where_the_paper_cuts_it() -> None:
    """From genome to choice with the paper's own profiles: point 2, which it prints as 3."""
    genome = Genome((2048, 128, 8, 64), (1, 1, 4, 2), classes=2)
    points = [paper_point(footprint) for footprint in genome.footprints()]
    bounds = Bounds(flash_bytes=1024, ram_bytes=10 * 1024, edge_j=1e-4)
    choice = choose(points, bounds, "edge_energy", "stm32l476-paper", "ble-paper")
    assert (2, 0.091) == (choice.point, round(choice.cost.edge_j * 1e3, 3))
