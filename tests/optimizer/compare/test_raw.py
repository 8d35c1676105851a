"""The trivial rows: what is sent, what it costs, and what the fog sees of it."""

import numpy as np
import pytest
from compare_case import make_contest, make_dataset, make_recipe

from headtail.errors import DataError
from optimizer.compare.raw import (
    Native,
    every_row,
    fog_network,
    native_steps,
    native_windows,
    raw_row,
)
from optimizer.data.dataset import Dataset, Split
from optimizer.labelled import Labelled
from optimizer.partition import Bounds
from optimizer.recipe.recipe import CompareConfig, NetworkConfig

INTERPOLATE = {"name": "interpolate", "parameters": {"length": 2048}}
RESHAPE = {"name": "reshape", "parameters": {"shape": [2048, 1]}}


def beats() -> Native:
    """Return windows as MIT-BIH's are, 187 samples of one channel."""
    dataset = make_dataset(187)
    recipe = make_recipe(
        preprocess=[INTERPOLATE, RESHAPE], network=NetworkConfig((2048, 32), (1, 1))
    )
    return native_windows(dataset, recipe)


def test_window_as_int8_costs_187_bytes_of_radio_and_no_computing() -> None:
    """20.1 mW x 8 x 187 B / 1 Mbit/s = 30.07 uJ, the 0.030 mJ of the paper's radio."""
    contest = make_contest()
    row = raw_row(contest, beats())
    assert pytest.approx(20.1e-3 * 8 * 187 / 1e6) == row.edge_j
    assert 0.030 == round(row.edge_j * 1e3, 3)
    assert (0, 0, "int8", 1) == (row.edge_parameters, row.point, row.encoding, row.trainings)


def test_every_fourth_sample_costs_47_bytes_and_47_copies() -> None:
    """7.557 uJ of radio, then 47 x 26.47 nJ: 0.0076 and 0.0088 mJ."""
    row = every_row(make_contest(), beats())
    radio_j = 20.1e-3 * 8 * 47 / 1e6
    assert 0.0076 == round(radio_j * 1e3, 4)
    assert pytest.approx(radio_j + 47 * 26.47e-9) == row.edge_j
    assert 0.0088 == round(row.edge_j * 1e3, 4)
    assert row.name == "one sample in 4 sent as int8"


def test_fog_pays_a_tenth_of_what_its_layers_cost_the_edge() -> None:
    """Every layer by the paper's formula, written out; one convolution of 4 and a dense layer."""
    network = NetworkConfig((192, 48), (1, 2))
    recipe = make_recipe(compare=CompareConfig(raw_network=network))
    row = raw_row(make_contest(recipe), beats())
    conv_j = 26.47e-9 * 192 * 2 + 31.55e-9 * (4 * 2 + 2)
    fog_j = (conv_j + 34.07e-9 * 96 * 2) / 10
    assert pytest.approx(row.edge_j + fog_j) == row.total_j
    assert 4 * 2 + 2 + 96 * 2 + 2 == row.parameters
    assert 192 * 2 + 96 * 2 == row.macs


def test_fog_sees_the_windows_as_int8_leaves_them() -> None:
    """At most half a step of the training windows' range away; zeros beyond the window."""
    contest, native = make_contest(), beats()
    raw_row(contest, native)
    candidate, inputs, seed = contest.retrain.asked[-1]
    assert (192, contest.recipe.seed) == (candidate.genome.lengths[0], seed)
    step = (native.splits["train"].x.max() - min(0, native.splits["train"].x.min())) / 255
    for name in ("train", "validation", "test"):
        given, sent = getattr(inputs, name), native.splits[name]
        inside = sent.x <= native.splits["train"].x.max()
        errors = np.abs(given.x[:, :187] - sent.x)[inside]
        assert 0 < errors.max() <= step * 0.501
        assert not given.x[:, 187:].any()
        np.testing.assert_array_equal(sent.y, given.y)
    assert len(np.unique(inputs.train.x)) <= 256


def test_every_fourth_sample_is_the_first_of_each_four() -> None:
    kept = beats().every(4)
    assert (47, 1) == kept.shape
    np.testing.assert_array_equal(beats().splits["test"].x[:, 4], kept.splits["test"].x[:, 1])


def test_windows_are_those_before_they_are_stretched_padded_or_reshaped() -> None:
    """Steps that measure stay, and so does an interpolation that takes samples away."""
    shrink = {"name": "interpolate", "parameters": {"length": 64}}
    scale = {"name": "scale", "parameters": {"gain": 2.0}}
    pad = {"name": "pad", "parameters": {"length": 96}}
    stretch = {"name": "interpolate", "parameters": {"length": 128}}
    recipe = make_recipe(preprocess=[scale, shrink, pad, stretch])
    dataset = make_dataset(187)
    assert ["scale", "interpolate"] == [s.name for s in native_steps(dataset, recipe)]
    assert (64, 1) == native_windows(dataset, recipe).shape
    plain = make_recipe(preprocess=[INTERPOLATE, RESHAPE])
    np.testing.assert_array_equal(
        dataset.test.x[..., np.newaxis], native_windows(dataset, plain).splits["test"].x
    )


def test_channels_of_a_window_stay() -> None:
    """Two channels of 48 samples are 96 bytes, every fourth 24."""
    one = make_dataset(48)
    splits = {name: Split(np.stack([s.x, 1 - s.x], axis=-1), s.y) for name, s in one.splits.items()}
    two = Dataset("pairs", *splits.values(), one.labels, (), "none", True)
    native = native_windows(two, make_recipe(preprocess=[]))
    contest = make_contest(dataset=two, inputs=())
    assert pytest.approx(20.1e-3 * 8 * 96 / 1e6) == raw_row(contest, native).edge_j
    radio_j, copies_j = 20.1e-3 * 8 * 24 / 1e6, 24 * 26.47e-9
    assert pytest.approx(radio_j + copies_j) == every_row(contest, native).edge_j


@pytest.mark.parametrize("length", [1, 7, 8, 47, 63, 64, 187, 192, 2048])
def test_fog_network_takes_windows_of_any_length(length: int) -> None:
    network = fog_network(length, 3)
    assert length <= network.lengths[0] < length + 32
    assert 3 == network.channels[0]
    assert network.genome(5).layers()


@pytest.mark.parametrize(
    ("length", "lengths", "first"),
    [(187, (192, 48, 24, 12, 6), 12), (47, (48, 48, 24, 12, 6), 5)],
)
def test_fog_network_for_a_beat_has_fewer_than_2000_parameters(
    length: int, lengths: tuple[int, ...], first: int
) -> None:
    """Counted layer by layer; the first convolution has 12 taps, or 5."""
    genome = fog_network(length, 1).genome(5)
    assert lengths == genome.lengths
    convolutions = 8 * (first + 1) + 8 * (6 * 8 + 1) + 10 * (6 * 8 + 1) + 10 * (6 * 10 + 1)
    parameters = genome.footprints()[-1].operations.parameters
    assert convolutions + 5 * (6 * 10 + 1) == parameters < 2000


def test_bounds_that_a_row_breaks_are_named() -> None:
    """It is shown all the same."""
    row = raw_row(make_contest(bounds=Bounds(edge_j=20e-6, parameters=100)), beats())
    assert "edge_j 3.007e-05 is beyond its bound of 2e-05" in row.note
    assert "parameters" in row.note


def test_network_too_short_for_the_window_is_refused() -> None:
    recipe = make_recipe(compare=CompareConfig(raw_network=NetworkConfig((96, 48), (1, 1))))
    with pytest.raises(
        DataError, match=r"takes 96 x 1 values, expected 1 channels of at least 187"
    ):
        raw_row(make_contest(recipe), beats())


def test_windows_of_three_axes_are_refused() -> None:
    rng = np.random.default_rng(0)
    images = [Split(rng.random((4, 8, 8, 3), np.float32), np.arange(4) % 2) for _ in range(3)]
    dataset = Dataset("images", *images, ("a", "b"), (), "none", True)
    with pytest.raises(DataError, match=r"windows of one or two axes, received shape \(8, 8, 3\)"):
        native_windows(dataset, make_recipe(preprocess=[]))


def test_labels_follow_their_windows() -> None:
    """Native windows are in the data set's order."""
    native = beats()
    assert isinstance(native.splits["train"], Labelled)
    np.testing.assert_array_equal(make_dataset(187).train.y, native.splits["train"].y)
