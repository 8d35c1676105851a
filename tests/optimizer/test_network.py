"""The genome's formulae against the paper's printed tables, and against Keras."""

import itertools
from dataclasses import dataclass

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headtail.energy import predict_compute, predict_transmission
from headtail.operations import Operations
from headtail.profile import read_device_profile, read_link_profile
from optimizer.fast.engine import FastEngine
from optimizer.fast.weights import glorot, initialise
from optimizer.network import Genome, HeadFootprint, Layer
from optimizer.training.training import softmax

DEVICE, LINK = read_device_profile("stm32l476-paper"), read_link_profile("ble-paper")
MAX_ERROR = 0.0175  # of the fitted compute energy, against the paper's layer groups
PRINT_MJ = 0.0005  # half of the last printed digit


@dataclass(frozen=True, slots=True)
class Solution:
    """One printed architecture with every figure the paper gives for it (mJ, KiB)."""

    genome: Genome
    partition: int
    """As printed: the input counts as layer 1, so `partition` - 1 weight layers on the edge."""
    parameters: int
    flash_kib: float
    ram_kib: float
    macz: int
    edge_mj: float
    whole_mj: float
    """E_edge without partition, class scores sent."""
    head_mj: float
    sent_mj: float
    fog10_mj: float
    """Energy of the fog at factor 10: a tenth of what its layers cost the edge."""


SOLUTIONS = {
    "SD-1": Solution(
        Genome((2048, 128, 8, 64), (1, 1, 4, 2), classes=2),
        *(3, 85, 0.3, 8.5, 2_560, 0.091, 0.192, 0.071, 0.020, 0.012),
    ),
    "SD-2": Solution(
        Genome((2048, 128, 4, 128), (1, 3, 3, 2), classes=2),
        *(3, 342, 1.3, 9.5, 7_296, 0.212, 0.884, 0.205, 0.008, 0.068),
    ),
    # Lengths inferred: the only network of the family that fits its printed rows.
    "SD-3": Solution(
        Genome((2048, 128, 256, 4, 32), (1, 3, 3, 3, 3), classes=2),
        *(4, 651, 2.5, 9.5, 13_056, 0.375, 0.439, 0.367, 0.008, 0.007),
    ),
    "AC-1": Solution(
        Genome((2048, 64, 256, 512, 4, 16, 16, 256), (1, 1, 1, 3, 2, 4, 4, 1), classes=5),
        *(2, 33, 0.1, 8.2, 2_048, 0.096, 0.775, 0.055, 0.041, 0.072),
    ),
    "AC-2": Solution(
        Genome((2048, 32, 8, 128, 256, 1024), (1, 4, 3, 4, 4, 2), classes=5),
        *(3, 311, 1.2, 8.5, 8_576, 0.253, 2.323, 0.238, 0.015, 0.208),
    ),
}
NAMES = tuple(SOLUTIONS)
# The head of AC-3, all that its rows reveal: 2048 values to 8 x 4.
AC3_HEAD = Layer("conv", 2048, 1, 8, 4)


def compute_mj(footprint: HeadFootprint) -> float:
    """Return the paper device's energy for a head, in mJ."""
    return predict_compute(DEVICE, footprint.operations).joules * 1e3


def sent_mj(footprint: HeadFootprint) -> float:
    """Return the paper link's energy for the float32 activation, in mJ."""
    return predict_transmission(LINK, 4 * footprint.activation_values).joules * 1e3


def edge_mj(footprint: HeadFootprint) -> float:
    """Return E_edge of one partition point, in mJ."""
    return compute_mj(footprint) + sent_mj(footprint)


def counts(operations: Operations) -> tuple[int, int, int]:
    """Return true MACs, stuffed MACs and parameters."""
    return operations.macs, operations.conv_macz, operations.parameters


def printed(value: float, error_mj: float = 0.0) -> object:
    """Return what equals a printed figure in mJ within its print and a compute error."""
    return pytest.approx(value, abs=PRINT_MJ + error_mj)


@pytest.mark.parametrize("name", NAMES)
def test_edge_parameters_and_macz(name: str) -> None:
    """Exact counts of the head."""
    solution = SOLUTIONS[name]
    operations = solution.genome.footprints()[solution.partition - 1].operations
    received = operations.parameters, operations.conv_macz
    assert (solution.parameters, solution.macz) == received


@pytest.mark.parametrize("name", NAMES)
def test_flash_as_printed(name: str) -> None:
    """4 bytes for each parameter of the head, in KiB to one decimal."""
    solution = SOLUTIONS[name]
    footprint = solution.genome.footprints()[solution.partition - 1]
    assert solution.flash_kib == round(footprint.flash_bytes / 1024, 1)


@pytest.mark.parametrize("name", NAMES)
def test_ram_as_printed(name: str) -> None:
    """The two largest successive maps, in KiB; 8.25 is printed as 8.2."""
    solution = SOLUTIONS[name]
    footprint = solution.genome.footprints()[solution.partition - 1]
    assert solution.ram_kib == round(footprint.ram_bytes / 1024, 1)


@pytest.mark.parametrize(
    ("name", "flash_kib", "ram_kib"),
    [("SD-1", 0.332, 8.50), ("SD-2", 1.336, 9.50), ("AC-1", 0.129, 8.25), ("AC-2", 1.215, 8.50)],
)
def test_footprints_to_three_decimals(name: str, flash_kib: float, ram_kib: float) -> None:
    """The formulae's own digits, beyond those that are printed."""
    footprint = SOLUTIONS[name].genome.footprints()[SOLUTIONS[name].partition - 1]
    received = round(footprint.flash_bytes / 1024, 3), round(footprint.ram_bytes / 1024, 2)
    assert (flash_kib, ram_kib) == received


@pytest.mark.parametrize("name", NAMES)
def test_head_energy_as_printed(name: str) -> None:
    """E_comp of the head within the fit's largest error and half the last printed digit."""
    solution = SOLUTIONS[name]
    footprint = solution.genome.footprints()[solution.partition - 1]
    expected = printed(solution.head_mj, MAX_ERROR * solution.head_mj)
    assert expected == compute_mj(footprint)


@pytest.mark.parametrize("name", NAMES)
def test_edge_energy_as_printed(name: str) -> None:
    """E_edge of the printed partition."""
    solution = SOLUTIONS[name]
    footprint = solution.genome.footprints()[solution.partition - 1]
    expected = printed(solution.edge_mj, MAX_ERROR * solution.head_mj)
    assert expected == edge_mj(footprint)


@pytest.mark.parametrize("name", NAMES)
def test_unpartitioned_energy_as_printed(name: str) -> None:
    """E_edge of the whole network on the edge, class scores sent."""
    solution = SOLUTIONS[name]
    expected = printed(solution.whole_mj, MAX_ERROR * solution.whole_mj)
    assert expected == edge_mj(solution.genome.footprints()[-1])


@pytest.mark.parametrize("name", NAMES)
def test_sent_energy_as_printed(name: str) -> None:
    """E_comm of the activation; 0.0206 stands as 0.020 for SD-1."""
    solution = SOLUTIONS[name]
    footprint = solution.genome.footprints()[solution.partition - 1]
    assert pytest.approx(solution.sent_mj, abs=0.0006) == sent_mj(footprint)


@pytest.mark.parametrize("name", NAMES)
def test_fog_energy_as_printed(name: str) -> None:
    """At factor 10 the fog pays a tenth of what its layers cost on the edge (Table III)."""
    solution = SOLUTIONS[name]
    footprints = solution.genome.footprints()
    tail_mj = compute_mj(footprints[-1]) - compute_mj(footprints[solution.partition - 1])
    expected = printed(solution.fog10_mj, MAX_ERROR * solution.fog10_mj)
    assert expected == tail_mj / 10


@pytest.mark.parametrize("name", NAMES)
def test_printed_partition_is_the_least_of_all(name: str) -> None:
    """The published best cut is the brute-force minimum of E_edge over every point."""
    solution = SOLUTIONS[name]
    costs = [edge_mj(footprint) for footprint in solution.genome.footprints()]
    assert solution.partition - 1 == costs.index(min(costs))


@pytest.mark.parametrize("name", NAMES)
def test_raw_input_costs_as_much_as_printed(name: str) -> None:
    """Point 0 sends 2048 values: 1.317 mJ."""
    assert printed(1.317) == edge_mj(SOLUTIONS[name].genome.footprints()[0])


def test_head_of_ac_3_as_printed() -> None:
    """1,028 parameters, 8,192 MACs, 4.0 KiB, 8.1 KiB, 0.249 + 0.021 = 0.270 mJ."""
    footprint = Genome((2048, 8), (1, 4), classes=5).footprints()[1]
    assert AC3_HEAD == Genome((2048, 8), (1, 4), classes=5).layers()[0]
    assert (1_028, 8_192) == (footprint.operations.parameters, footprint.operations.conv_macz)
    assert (4.0, 8.1) == (
        round(footprint.flash_bytes / 1024, 1),
        round(footprint.ram_bytes / 1024, 1),
    )
    assert printed(0.249) == compute_mj(footprint)
    assert printed(0.021) == sent_mj(footprint)
    assert printed(0.270) == edge_mj(footprint)


def test_compute_energy_is_within_one_percent_on_the_whole() -> None:
    """Root mean square error over the printed heads, tails and whole networks."""
    errors = []
    for solution in SOLUTIONS.values():
        footprints = solution.genome.footprints()
        head, whole = compute_mj(footprints[solution.partition - 1]), compute_mj(footprints[-1])
        whole_mj = solution.whole_mj - round(sent_mj(footprints[-1]), 3)
        errors += [head / solution.head_mj - 1, whole / whole_mj - 1]
    assert np.sqrt(np.mean(np.square(errors))) < 0.008


def test_transposed_convolution_counts_both_ways() -> None:
    """AC-1's second layer, 64 to 256: each of 64 positions 4 MACs; 256 x 4 over stuffed zeros."""
    operations = Layer("conv_transpose", 64, 1, 256, 1).operations
    assert (256, 1024, 5) == (
        operations.conv_macs,
        operations.conv_macz,
        operations.conv_parameters,
    )


def test_zero_length_drops_its_layer() -> None:
    """A length gene 0 leaves the layer and its channels out."""
    genome = Genome((2048, 0, 128, 0, 8), (1, 4, 2, 3, 1), classes=5)
    assert Genome((2048, 128, 8), (1, 2, 1), classes=5) == genome.phenotype
    assert genome.phenotype.layers() == genome.layers()


def test_equal_phenotypes_are_one_key() -> None:
    """Raw measures are cached by phenotype."""
    one = Genome((64, 0, 8), (1, 4, 2), classes=2)
    other = Genome((64, 0, 8), (1, 3, 2), classes=2)
    assert 1 == len({one.phenotype, other.phenotype})


@pytest.mark.parametrize(
    ("lengths", "channels", "classes", "message"),
    [
        ((64, 8), (1,), 2, "equally many, at least one; received 2 and 1"),
        ((), (), 2, "equally many, at least one; received 0 and 0"),
        ((0, 8), (1, 1), 2, r"lengths\[0\] is the input's and cannot be 0"),
        ((64, 24), (1, 1), 2, "lengths 64 and 24 follow one another"),
        ((64, 0, 24), (1, 1, 1), 2, "lengths 64 and 24 follow one another"),
        ((64, -8), (1, 1), 2, "Expected `int` >= 0"),
        ((64, 8), (1, 0), 2, "Expected `int` >= 1"),
        ((64, 8), (1, 1), 0, "Expected `int` >= 1"),
    ],
)
def test_what_is_no_network_is_refused(
    lengths: tuple[int, ...], channels: tuple[int, ...], classes: int, message: str
) -> None:
    """Each fault names the numbers."""
    fields = {"lengths": lengths, "channels": channels, "classes": classes}
    with pytest.raises(msgspec.ValidationError, match=message):
        msgspec.convert(fields, type=Genome)


@pytest.mark.parametrize(
    ("lengths", "channels", "classes"),
    [((64, -8), (1, 1), 2), ((64, 8), (1, 0), 2), ((64, 8), (1, 1), 0)],
)
def test_a_genome_made_in_code_is_checked_too(
    lengths: tuple[int, ...], channels: tuple[int, ...], classes: int
) -> None:
    """Chromosomes are decoded without msgspec's checks."""
    with pytest.raises(ValueError, match="channels and classes at least 1"):
        Genome(lengths, channels, classes)


GENOMES = st.builds(
    lambda genes, classes: Genome(
        (256, *(g[0] for g in genes)), (1, *(g[1] for g in genes)), classes
    ),
    st.lists(
        st.tuples(st.sampled_from([256, 64, 16, 8, 4, 0]), st.integers(1, 4)),
        min_size=0,
        max_size=6,
    ),
    st.integers(1, 6),
)


@given(genome=GENOMES)
def test_footprints_grow_with_the_point(genome: Genome) -> None:
    """More layers on the edge never need less Flash, RAM or energy."""
    footprints = genome.footprints()
    assert len(genome.layers()) + 1 == len(footprints)
    for before, after in itertools.pairwise(footprints):
        assert before.flash_bytes < after.flash_bytes
        assert before.ram_bytes <= after.ram_bytes
        assert 0 <= compute_mj(before) < compute_mj(after)


@given(genome=GENOMES)
def test_layers_join(genome: Genome) -> None:
    """What one layer makes, the next takes; true MACs never exceed the stuffed count."""
    layers = genome.layers()
    for before, after in itertools.pairwise(layers):
        assert (before.out_length, before.out_channels) == (after.in_length, after.in_channels)
    assert all(o.conv_macs <= o.conv_macz for o in (layer.operations for layer in layers))


SMALL = Genome((64, 16, 0, 32, 4), (1, 3, 2, 2, 4), classes=5)
OVERLAPPING = Genome((64, 16, 0, 32, 4), (1, 3, 2, 2, 4), 5, (1, 2, 1, 3, 5))


@pytest.mark.tf
@pytest.mark.parametrize("genome", [SMALL, OVERLAPPING, *(s.genome for s in SOLUTIONS.values())])
def test_keras_has_the_same_shapes_and_parameters(genome: Genome) -> None:
    """The formulae count what is built."""
    from optimizer.training.keras_model import build_keras

    model = build_keras(genome, seed=1)
    built = [layer for layer in model.layers if layer.weights]
    for layer, keras_layer in zip(genome.layers(), built, strict=True):
        assert layer.operations.parameters == keras_layer.count_params()
        assert layer.out_values == int(np.prod(keras_layer.output.shape[1:]))


@pytest.mark.tf
@pytest.mark.parametrize("name", ["SD-1", "SD-3"])
def test_exported_graph_counts_the_same(name: str) -> None:
    """For every point the exported ONNX graph has a cut with the formulae's own head.

    RAM is compared up to the first transposed convolution: the exporter follows one with nodes that
    copy its map and would crop it if it were too long.
    """
    from optimizer.cut.cut import cut_model, legal_cuts
    from optimizer.cut.graph import read_graph
    from optimizer.keras_onnx import export_keras
    from optimizer.training.keras_model import build_keras

    genome = SOLUTIONS[name].genome
    model = build_keras(genome, seed=1)
    rng = np.random.default_rng(1)  # the exporter drops a bias of zeros
    model.set_weights([rng.standard_normal(w.shape, np.float32) for w in model.get_weights()])
    graph = read_graph(export_keras(model))
    cuts = legal_cuts(graph)
    heads = [cut_model(graph, (cut,)).segments[0] for cut in cuts]
    exported = {
        (cut.window_bytes, *counts(head.operations)): head.ram_bytes
        for cut, head in zip(cuts, heads, strict=True)
    }
    for footprint in genome.footprints()[1:-1]:
        key = (4 * footprint.activation_values, *counts(footprint.operations))
        assert key in exported
        if footprint.operations.conv_macs == footprint.operations.conv_macz:
            assert footprint.ram_bytes == exported[key]


@pytest.mark.parametrize("name", ["SD-2", "AC-1", "AC-2"])
def test_initialise_wakes_dead_networks(name: str) -> None:
    """Fed in [0, 1], a fresh network answers every window alike; initialised ones never do."""
    rng = np.random.default_rng(5)
    x = np.cumsum(rng.standard_normal((64, 2048, 1)), axis=1).astype(np.float32)
    x = (x - x.min(axis=1, keepdims=True)) / np.ptp(x, axis=1, keepdims=True)
    for seed in range(3):
        genome = SOLUTIONS[name].genome
        weights = glorot(genome, seed)
        fresh = softmax(FastEngine(genome, weights).logits(x)).std(axis=0).max()
        awake = FastEngine(genome, initialise(genome, weights, x)).logits(x)
        assert fresh < 0.01
        assert softmax(awake).std(axis=0).max() > 0.05
