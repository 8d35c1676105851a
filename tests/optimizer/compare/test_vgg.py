"""The one-dimensional VGG11: its counts against the built network, its layers, its two rows."""

import itertools

import numpy as np
import pytest
from compare_case import make_contest, make_dataset, make_recipe

from optimizer.compare.raw import native_windows
from optimizer.cut.count import count_operations
from optimizer.cut.graph import read_graph
from optimizer.partition import Bounds
from optimizer.recipe.recipe import CompareConfig

pytestmark = [pytest.mark.tf, pytest.mark.usefixtures("tensorflow")]


def ignore(done: int, total: int, note: str) -> None:
    """Show no progress."""


def test_counts_are_those_of_the_exported_network() -> None:
    """Read from the ONNX graph, node by node; two channels, seven classes, width 2."""
    from optimizer.compare.vgg import build_vgg, vgg_operations
    from optimizer.keras_onnx import export_keras

    model = build_vgg(64, 2, 7, 2, 1)
    # A bias of zeros, as all are before training, would not be exported; equal ones are shared.
    rng = np.random.default_rng(0)
    model.set_weights([rng.random(w.shape, np.float32) for w in model.get_weights()])
    graph = read_graph(export_keras(model, 17))
    expected = vgg_operations(64, 2, 7, 2)
    assert expected == count_operations(graph, graph.nodes)
    assert model.count_params() == expected.parameters


def test_vgg11_of_width_64_on_a_beat() -> None:
    """Configuration A's channels, kernel 3, on 192 samples: 32.5 million parameters by hand."""
    from optimizer.compare.vgg import vgg_operations

    channels = (1, 64, 128, 256, 256, 512, 512, 512, 512)
    lengths = (192, 96, 48, 48, 24, 24, 12, 12)
    conv = [3 * a * b for a, b in itertools.pairwise(channels)]
    dense = [6 * 512 * 4096, 4096 * 4096, 4096 * 5]
    parameters = sum(conv) + sum(channels[1:]) + sum(dense) + 4096 + 4096 + 5
    actual = vgg_operations(192, 1, 5, 64)
    assert (32_463_749, parameters) == (actual.parameters, actual.parameters)
    macs = sum(n * w for n, w in zip(lengths, conv, strict=True))
    assert (macs, sum(dense)) == (actual.conv_macs, actual.dense_macs)


def test_rows_are_one_training_on_the_edge_and_in_the_fog() -> None:
    """47 samples as float32, 188 B, are sent to the fog; the edge sends two class scores."""
    from optimizer.compare.vgg import vgg_operations, vgg_rows

    dataset = make_dataset(47)
    config = CompareConfig(vgg_width=1, vgg_epochs=1)
    recipe = make_recipe(compare=config, preprocess=[])
    contest = make_contest(recipe, dataset, inputs=(), bounds=Bounds(flash_bytes=1024))
    edge, fog = vgg_rows(contest, native_windows(dataset, recipe), ignore)
    whole = vgg_operations(64, 1, 2, 1)
    compute_j = 26.47e-9 * whole.conv_macz + 31.55e-9 * whole.conv_parameters
    compute_j += 34.07e-9 * whole.dense_macs
    assert pytest.approx(compute_j + 20.1e-3 * 64 / 1e6) == edge.edge_j
    assert edge.edge_j == edge.total_j
    sent_j = 20.1e-3 * 8 * 188 / 1e6
    assert pytest.approx(sent_j) == fog.edge_j
    assert pytest.approx(sent_j + compute_j / 10) == fog.total_j
    assert f"{(sent_j + compute_j / 2) * 1e3:.4g} mJ at 2" in fog.note
    assert "flash_bytes" in edge.note
    assert (11, 0, whole.parameters, 0) == (
        *(edge.point, fog.point),
        *(edge.edge_parameters, fog.edge_parameters),
    )
    assert (edge.accuracy, edge.macro_f1) == (fog.accuracy, fog.macro_f1)
    assert (1, 0) == (edge.trainings, fog.trainings)


def test_training_that_diverges_leaves_a_row_without_accuracy() -> None:
    """A reference that cannot be trained must not cost the run."""
    from optimizer.compare.vgg import vgg_rows

    dataset = make_dataset(47)
    dataset.train.x[:] *= 1e30
    config = CompareConfig(vgg_width=1, vgg_epochs=1, vgg_learning_rate=1.0)
    recipe = make_recipe(compare=config, preprocess=[])
    contest = make_contest(recipe, dataset, inputs=())
    rows = vgg_rows(contest, native_windows(dataset, recipe), ignore)
    assert [None, None] == [row.accuracy for row in rows]
    assert ["calculated"] * 2 == [row.origin for row in rows]
    assert all("loss" in row.note for row in rows)
    assert all(row.parameters == rows[0].parameters for row in rows)


def test_counts_grow_with_the_square_of_the_width() -> None:
    """Where the first layer is left out of account."""
    from optimizer.compare.vgg import vgg_operations

    narrow, wide = (vgg_operations(192, w, 5 * w, w) for w in (1, 2))
    assert 4 * narrow.macs == wide.macs
