"""The flat list of a model's calls, and the layers that a mask speaks of."""

import keras
import numpy as np
import pytest
from freeze_case import K, branching, images, nested, randomise_statistics

from headtail.errors import ConfigError
from optimizer.freeze.calls import flatten_calls, run_calls
from optimizer.freeze.layers import (
    apply_mask,
    freezable_layers,
    places,
)
from optimizer.freeze.mask import mask_text, parse_mask, tail_mask

pytestmark = pytest.mark.tf


@pytest.mark.parametrize("build", [branching, nested])
@pytest.mark.parametrize("training", [False, True])
def test_calls_one_after_another_are_the_model(build, training: bool) -> None:
    """Also with batch statistics, skips, Keras operations and models inside models."""
    model, calls = build(), flatten_calls(build())
    for one in (model, calls.model):
        randomise_statistics(one)
    x = images(5).x
    (given,) = run_calls(calls.calls, {calls.inputs[0]: x}, training, calls.outputs)
    np.testing.assert_allclose(model(x, training=training), given, rtol=0, atol=1e-6)
    for a, b in zip(model.get_weights(), calls.model.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-6)


def test_layers_carry_the_names_of_the_models_around_them() -> None:
    """A layer of a shared model stands where it is called first, once."""
    layers = freezable_layers(flatten_calls(nested()))
    assert ["conv", "middle/inner/conv", "middle/inner/norm", "middle/conv", "dense"] == [
        layer.name for layer in layers
    ]
    assert [3 * 9 * 4 + 4, 4 * 9 * 4 + 4, 8, 4 * 4 + 4, 144 * 3 + 3] == [
        layer.parameters for layer in layers
    ]


def test_only_what_training_can_change_is_listed() -> None:
    """Statistics of a BatchNormalization move; those of a Normalization do not."""
    model = keras.Sequential(
        [
            keras.Input((4,)),
            K.Normalization(),
            K.Dense(2, name="dense"),
            K.BatchNormalization(center=False, scale=False, name="norm"),
            K.Dropout(0.5),
        ]
    )
    layers = freezable_layers(flatten_calls(model))
    assert [("dense", 10), ("norm", 0)] == [(layer.name, layer.parameters) for layer in layers]


def test_a_layer_made_of_others_is_one() -> None:
    x = keras.Input((5, 8))
    model = keras.Model(x, K.MultiHeadAttention(2, 4, name="attention")(x, x))
    (layer,) = freezable_layers(flatten_calls(model))
    assert ("attention", model.count_params()) == (layer.name, layer.parameters)


def test_mask_decides_whatever_was_frozen_before() -> None:
    """Also inside a model that was frozen as a whole."""
    model = nested()
    layers = freezable_layers(flatten_calls(model))
    model.get_layer("middle").trainable = False
    apply_mask(model, layers, (False, False, True, True, False))
    trained = ["/".join(v.path.split("/")[-2:]) for v in model.trainable_variables]
    assert ["conv/bias", "conv/kernel", "norm/beta", "norm/gamma"] == sorted(trained)
    apply_mask(model, layers, (True, False, False, False, True))
    trained = ["/".join(v.path.split("/")[-2:]) for v in model.trainable_variables]
    assert ["conv/bias", "conv/kernel", "dense/bias", "dense/kernel"] == sorted(trained)


def test_frozen_normalisation_is_in_inference_mode() -> None:
    """Neither are its statistics those of the batch, nor do they move."""
    x = keras.Input((3,))
    model = keras.Model(x, K.Dense(2)(K.BatchNormalization(name="norm")(x)))
    randomise_statistics(model)
    layers = freezable_layers(flatten_calls(model))
    before = model.get_weights()
    data = np.random.default_rng(0).standard_normal((6, 3)).astype(np.float32)
    apply_mask(model, layers, (False, True))
    np.testing.assert_array_equal(model(data, training=True), model(data, training=False))
    apply_mask(model, layers, (True, False))
    assert np.abs(model(data, training=True) - model(data, training=False)).max() > 0.01
    assert [False, False, True, True, False, False] == [
        bool((a != b).any()) for a, b in zip(before, model.get_weights(), strict=True)
    ]


def test_mask_of_another_network_is_refused() -> None:
    model = branching()
    layers = freezable_layers(flatten_calls(model))
    with pytest.raises(ConfigError, match="freeze mask: expected 8 bools, one per layer, rec"):
        apply_mask(model, layers, (True,))


def test_unknown_layer_is_named() -> None:
    layers = freezable_layers(flatten_calls(nested()))
    assert (3, 0) == places(layers, ["middle/conv", "conv"], "freeze.always")
    with pytest.raises(ConfigError, match=r"freeze.always: expected names .* received 'head'"):
        places(layers, ["head"], "freeze.always")


def test_models_without_graph_or_weights_are_refused() -> None:
    class Own(keras.Model):
        def call(self, x):
            return x

    with pytest.raises(ConfigError, match="expected a built Functional or Sequential model"):
        flatten_calls(Own())
    with pytest.raises(ConfigError, match="a Sequential model needs an Input"):
        flatten_calls(keras.Sequential([K.Dense(2)]))
    with pytest.raises(ConfigError, match="expected layers with weights"):
        freezable_layers(flatten_calls(keras.Sequential([keras.Input((2,)), K.ReLU()])))


def test_masks_survive_their_text() -> None:
    assert "001" == mask_text((False, False, True))
    assert (True, False) == parse_mask("10")


@pytest.mark.parametrize(("share", "trained"), [(0, 0), (0.1, 1), (0.3, 3), (0.25, 3), (1, 10)])
def test_tail_mask_trains_the_last_layers(share: float, trained: int) -> None:
    """As many as the share says, rounded up."""
    assert (False,) * (10 - trained) + (True,) * trained == tail_mask(10, share)
