"""Prices of a genome against those of the very network, built, exported and cut."""

import itertools
import math

import numpy as np
import pytest

from headtail.bundle.manifest import Cost, Point
from headtail.profile import read_device_profile, read_link_profile
from headtail.wire import Encoding
from optimizer.network import Genome
from optimizer.package.points import Profiles, Windows, build_points
from optimizer.partition import Bounds, choose, list_rows
from optimizer.search.genome_cost import Terms, assess, price

GENOMES = (
    Genome((64, 16, 4), (1, 2, 3), 5),
    Genome((64, 16, 0, 32, 4), (1, 1, 4, 2, 1), 3),
    Genome((64,), (1,), 2),
    Genome((64, 64, 8), (2, 1, 4), 4),
    Genome((64, 16, 0, 32, 8), (1, 1, 4, 2, 1), 3, (1, 2, 1, 3, 5)),
    Genome((96, 48, 48, 24), (1, 2, 3, 2), 3, (1, 2, 5, 3)),
)


def profiles(device: str) -> Profiles:
    """Return a device with the paper's link."""
    return Profiles((read_device_profile(device),), (read_link_profile("ble-paper"),))


def facts(point: Point) -> tuple[int, int, tuple[Cost, ...]]:
    """Return what a choice looks at."""
    return point.flash_bytes, point.ram_bytes, point.costs


@pytest.mark.tf
@pytest.mark.usefixtures("tensorflow")
@pytest.mark.parametrize("genome", GENOMES, ids=lambda g: "-".join(map(str, g.lengths)))
def test_prices_are_those_of_the_exported_network(genome: Genome) -> None:
    """Every cut that is offered costs to the last digit what a layer's end is said to cost."""
    from optimizer.cut.cut import cut_model, legal_cuts, select_cuts
    from optimizer.cut.graph import read_graph
    from optimizer.keras_onnx import export_keras
    from optimizer.training.keras_model import build_keras

    model = build_keras(genome, 1)
    # A bias of zeros, as all are before training, would not be exported, and two equal ones once.
    rng = np.random.default_rng(1)
    model.set_weights([rng.standard_normal(w.shape, np.float32) for w in model.get_weights()])
    graph = read_graph(export_keras(model, 17))
    cut = cut_model(graph, select_cuts(legal_cuts(graph), "auto"))
    x = np.random.default_rng(1).random((8, genome.lengths[0], genome.channels[0]), np.float32)
    for device in ("stm32l476-paper", "raspberry-pi-4"):
        exported = build_points(cut, Windows({"x": x}, calibration={"x": x}), profiles(device))
        priced = price(genome, profiles(device))
        known = [facts(point) for point in priced]
        assert all(facts(point) in known for point in exported)
        expected = choose(exported, Bounds(), "edge_energy", device, "ble-paper")
        assert expected.cost == choose(priced, Bounds(), "edge_energy", device, "ble-paper").cost


def test_encodings_are_those_asked_for_and_float32_at_the_end() -> None:
    """The class scores leave as they are."""
    points = price(GENOMES[0], profiles("stm32l476-paper"), (Encoding.FLOAT32, Encoding.INT8))
    assert [["float32", "int8"]] * 3 + [["float32"]] == [
        [e.encoding.value for e in p.encodings] for p in points
    ]
    assert [64 * 4, 64] == [e.bytes for e in points[0].encodings]


def test_int4_is_priced_by_half_bytes_and_only_where_it_is_named() -> None:
    """45, 15 and 3 values take 23, 8 and 2 bytes of 8 x 20.1 nJ each; it is then the cheapest."""
    genome, terms = Genome((45, 15, 3), (1, 1, 1), 4), profiles("stm32l476-paper")
    assert {"float32", "float16", "int8"} == {
        e.encoding.value for p in price(genome, terms) for e in p.encodings
    }
    points = price(genome, terms, (Encoding.FLOAT32, Encoding.INT4))
    wires = [(p.encodings[1], p.costs[1]) for p in points[:-1]]
    assert [23, 8, 2] == [wire.bytes for wire, _ in wires]
    for wire, cost in wires:
        assert Encoding.INT4 is wire.encoding is cost.encoding
        assert cost.tx_j == pytest.approx(wire.bytes * 8 * 20.1e-9)
    choice = choose(points, Bounds(), "edge_energy", "stm32l476-paper", "ble-paper")
    assert (2, Encoding.INT4) == (choice.point, choice.encoding)


def test_paper_network_has_the_papers_energy_at_its_cut() -> None:
    """AC-2: 311 parameters on the edge, 24 values crossing, 0.253 mJ."""
    genome = Genome((2048, 32, 8, 128, 256, 1024), (1, 4, 3, 4, 4, 2), 5)
    points = price(genome, profiles("stm32l476-paper"), (Encoding.FLOAT32,))
    names = "stm32l476-paper", "ble-paper"
    choice = choose(points, Bounds(), "edge_energy", *names)
    assert (2, 311 * 4) == (choice.point, points[choice.point].flash_bytes)
    assert pytest.approx(0.253e-3, rel=0.0175) == choice.cost.edge_j


PAPER = ("stm32l476-paper", "ble-paper")
PUBLISHED = {
    "SD-1": Genome((2048, 128, 8, 64), (1, 1, 4, 2), 2),
    "SD-2": Genome((2048, 128, 4, 128), (1, 3, 3, 2), 2),
    "SD-3": Genome((2048, 128, 256, 4, 32), (1, 3, 3, 3, 3), 2),
    "AC-1": Genome((2048, 64, 256, 512, 4, 16, 16, 256), (1, 1, 1, 3, 2, 4, 4, 1), 5),
    "AC-2": Genome((2048, 32, 8, 128, 256, 1024), (1, 4, 3, 4, 4, 2), 5),
}
# Table II: the point (printed one higher: the input counts as a layer) and the edge energy in mJ.
TABLE_II = {
    "SD-1": (2, 0.091),
    "SD-2": (2, 0.212),
    "SD-3": (3, 0.375),
    "AC-1": (1, 0.096),
    "AC-2": (2, 0.253),
}
# Table III in mJ: total, edge compute, edge communication, fog, by fog factor and network.
TABLE_III = {
    (10, "SD-1"): (0.103, 0.071, 0.020, 0.012),
    (10, "SD-2"): (0.281, 0.205, 0.008, 0.068),
    (10, "SD-3"): (0.382, 0.367, 0.008, 0.007),
    (2, "SD-1"): (0.151, 0.071, 0.020, 0.060),
    (2, "SD-2"): (0.552, 0.205, 0.008, 0.339),
    (2, "SD-3"): (0.410, 0.367, 0.008, 0.035),
    (1, "SD-1"): (0.192, 0.191, 0.001, 0.0),
    (1, "SD-2"): (0.884, 0.883, 0.001, 0.0),
    (1, "SD-3"): (0.439, 0.438, 0.001, 0.0),
    (10, "AC-1"): (0.168, 0.055, 0.041, 0.072),
    (10, "AC-2"): (0.461, 0.238, 0.015, 0.208),
    (2, "AC-1"): (0.454, 0.055, 0.041, 0.358),
    (2, "AC-2"): (1.294, 0.238, 0.015, 1.041),
    (1, "AC-1"): (0.775, 0.772, 0.003, 0.0),
    (1, "AC-2"): (2.323, 2.320, 0.003, 0.0),
}


def paper_terms(objective: str, fog_factor: float = 10, **bounds: float) -> Terms:
    """Return the paper's device and link, float32 on the wire."""
    encodings = (Encoding.FLOAT32,)
    return Terms(profiles(PAPER[0]), Bounds(**bounds), objective, encodings, fog_factor)


@pytest.mark.parametrize("name", TABLE_II)
def test_published_networks_are_cut_where_the_paper_cuts_them(name: str) -> None:
    """Within the error of the fitted energies and half a digit of the print."""
    point, edge_mj = TABLE_II[name]
    best = assess(PUBLISHED[name], paper_terms("edge_energy"))
    assert point == best.point
    assert pytest.approx(edge_mj * 1e-3, rel=0.0175, abs=0.5e-6) == best.edge_j


@pytest.mark.parametrize(("factor", "name"), TABLE_III)
def test_total_energies_are_those_of_table_iii(factor: int, name: str) -> None:
    """The least total of all points, and its three parts."""
    genome = PUBLISHED[name]
    best = assess(genome, paper_terms("total_energy", factor))
    rows = list_rows(price(genome, profiles(PAPER[0]), ()), Bounds(), *PAPER, factor)
    row = next(r for r in rows if r.point == best.point)
    parts = best.total_j, row.cost.head_j, row.cost.tx_j, row.fog_j
    for printed_mj, joules in zip(TABLE_III[factor, name], parts, strict=True):
        assert pytest.approx(printed_mj * 1e-3, rel=0.0175, abs=0.6e-6) == joules


def random_genome(rng: np.random.Generator) -> Genome:
    """Return a network of the paper's space, up to nine layers deep."""
    depth = int(rng.integers(1, 9))
    lengths = rng.choice([1024, 512, 256, 128, 64, 32, 16, 8, 4, 0], depth)
    channels = rng.integers(1, 5, depth)
    return Genome((2048, *map(int, lengths)), (1, *map(int, channels)), 5)


@pytest.mark.parametrize("objective", ["edge_energy", "total_energy"])
def test_best_cut_of_a_thousand_random_genomes_is_that_of_brute_force(objective: str) -> None:
    """Counted from the layers themselves with the paper's formulae written out again."""
    rng = np.random.default_rng(4)
    for _ in range(1000):
        genome, factor = random_genome(rng), float(rng.choice([10, 2, 1]))
        limit = float(rng.uniform(500, 40_000))
        layers = [layer for layer in genome.layers() if layer.out_length]
        compute = [
            34.07e-9 * layer.in_values * layer.out_values
            if layer.kind == "dense"
            else 26.47e-9 * layer.out_length * layer.stride * layer.in_channels * layer.out_channels
            + 31.55e-9 * layer.out_channels * (layer.stride * layer.in_channels + 1)
            for layer in layers
        ]
        values = [2048, *(layer.out_values for layer in layers)]
        totals = {}
        for k, sent in enumerate(values):
            ram = max([4 * (a + b) for a, b in itertools.pairwise(values[: k + 1])], default=8192)
            edge_j = sum(compute[:k]) + 20.1e-3 * 32 * sent / 1e6
            fog_j = sum(compute[k:]) / factor if objective == "total_energy" else 0.0
            totals[k] = edge_j + fog_j if ram <= limit else math.inf
        best = assess(genome, paper_terms(objective, factor, ram_bytes=limit))
        least = min(totals.values())
        assert best.is_feasible == math.isfinite(least)
        if best.is_feasible:
            assert totals[best.point] == pytest.approx(least, rel=1e-9)


def test_parameters_and_total_energy_are_bounded_for_the_whole_model() -> None:
    """At no point are there fewer parameters; the total is of the point that keeps it."""
    genome = PUBLISHED["AC-2"]
    free = assess(genome, paper_terms("total_energy", 2))
    at_limit = paper_terms("edge_energy", 2, total_j=free.total_j, parameters=free.parameters)
    assert assess(genome, at_limit).is_feasible
    fewer = paper_terms("edge_energy", 2, parameters=free.parameters - 1)
    refused = assess(genome, fewer)
    assert (False, None) == (refused.is_feasible, refused.excess)
    assert f"parameters {free.parameters} is 1 over" in refused.reason
    less = assess(genome, paper_terms("edge_energy", 2, total_j=free.total_j / 2))
    assert pytest.approx(1.0) == less.excess
    assert pytest.approx(free.total_j) == less.total_j


def test_without_partition_everything_runs_on_the_edge() -> None:
    """What the paper prints for AC-1 without partition: 0.775 mJ."""
    whole = Terms(
        profiles(PAPER[0]), Bounds(), "edge_energy", (Encoding.FLOAT32,), is_partitioned=False
    )
    found = assess(PUBLISHED["AC-1"], whole)
    assert (8, found.edge_j) == (found.point, found.total_j)
    assert pytest.approx(0.775e-3, rel=0.0175) == found.edge_j
