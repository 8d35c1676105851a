"""Prices of a genome against those of the very network, built, exported and cut."""

import numpy as np
import pytest

from headtail.bundle.manifest import Cost, Point
from headtail.profile import read_device_profile, read_link_profile
from headtail.wire import Encoding
from optimizer.genome_cost import price
from optimizer.network import Genome
from optimizer.package_points import Profiles, Windows, build_points
from optimizer.partition import Bounds, choose

GENOMES = (
    Genome((64, 16, 4), (1, 2, 3), 5),
    Genome((64, 16, 0, 32, 4), (1, 1, 4, 2, 1), 3),
    Genome((64,), (1,), 2),
    Genome((64, 64, 8), (2, 1, 4), 4),
)


def profiles(device: str) -> Profiles:
    """Return a device with the paper's link."""
    return Profiles((read_device_profile(device),), (read_link_profile("ble-paper"),))


def facts(point: Point) -> tuple[int, int, tuple[Cost, ...]]:
    """Return what a choice looks at."""
    return point.flash_bytes, point.ram_bytes, point.costs


@pytest.mark.tf
@pytest.mark.parametrize("genome", GENOMES, ids=lambda g: "-".join(map(str, g.lengths)))
def test_prices_are_those_of_the_exported_network(genome: Genome) -> None:
    """Every cut that is offered costs to the last digit what a layer's end is said to cost."""
    from optimizer.chatter import load_tensorflow

    load_tensorflow()
    from optimizer.cut import cut_model, legal_cuts, select_cuts
    from optimizer.graph import read_graph
    from optimizer.keras_onnx import export_keras
    from optimizer.network import build_keras

    model = build_keras(genome, 1)
    # A bias of zeros, as all are before training, would not be exported.
    model.set_weights([w + np.float32(0.01) for w in model.get_weights()])
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


def test_paper_network_has_the_papers_energy_at_its_cut() -> None:
    """AC-2: 311 parameters on the edge, 24 values crossing, 0.253 mJ."""
    genome = Genome((2048, 32, 8, 128, 256, 1024), (1, 4, 3, 4, 4, 2), 5)
    points = price(genome, profiles("stm32l476-paper"), (Encoding.FLOAT32,))
    names = "stm32l476-paper", "ble-paper"
    choice = choose(points, Bounds(), "edge_energy", *names)
    assert (2, 311 * 4) == (choice.point, points[choice.point].flash_bytes)
    assert pytest.approx(0.253e-3, rel=0.0175) == choice.cost.edge_j
