"""Where a classifier looks: maps against a calculation by hand, and models without any."""

import numpy as np
import pytest

from headtail.errors import PruningError

pytestmark = pytest.mark.tf


def small(activation: str | None = "softmax"):
    """Return a classifier of two maps, its weights known."""
    import keras

    inputs = keras.Input((6, 6, 3))
    x = keras.layers.Conv2D(2, 3, 2, "same", activation="relu", name="maps")(inputs)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(3, activation=activation, name="end")(x))


def test_map_is_relu_of_the_weighted_activations() -> None:
    """Behind a mean and a dense layer the weight of a map is its kernel over the positions."""
    import keras
    import tensorflow as tf

    from optimizer.images.heatmap import class_heatmaps

    keras.utils.set_random_seed(2)
    model = small()
    images = np.random.default_rng(0).integers(0, 256, (4, 6, 6, 3), np.uint8)
    classes = np.array([0, 1, 2, 1])
    layer = model.get_layer("maps")
    maps = np.asarray(layer(tf.constant(images / np.float32(255))))
    weights = np.asarray(model.get_layer("end").kernel)[:, classes].T / maps[0, ..., 0].size
    heat = np.maximum((maps * weights[:, None, None]).sum(-1, keepdims=True), 0)
    expected = np.asarray(tf.image.resize(heat, (6, 6)))[..., 0]
    largest = expected.max(axis=(1, 2), keepdims=True)
    expected = np.divide(expected, largest, out=np.zeros_like(expected), where=largest > 0)
    found = class_heatmaps(model, images, classes)
    np.testing.assert_allclose(expected, found, atol=1e-5)
    assert 1 == found.max()


def test_a_model_without_maps_has_none() -> None:
    """It says so."""
    import keras

    from optimizer.images.heatmap import class_heatmaps

    model = keras.Sequential(
        [keras.Input((4, 4, 3)), keras.layers.Flatten(), keras.layers.Dense(2)]
    )
    with pytest.raises(PruningError, match="expected feature maps, received none"):
        class_heatmaps(model, np.zeros((1, 4, 4, 3), np.uint8), np.array([0]))


def test_maps_of_a_nested_backbone_and_behind_maps_of_one_position() -> None:
    """The last that have several positions count, in a model inside the model too."""
    import keras

    from optimizer.images.heatmap import class_heatmaps

    inner = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3, 2)], name="inner")
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.MaxPooling2D(3)(inner(inputs))
    model = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(x)))
    images = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), np.uint8)
    found = class_heatmaps(model, images, np.array([0, 1]))
    assert (2, 8, 8) == found.shape
    assert np.isfinite(found).all()
