"""Pruned networks of keras.applications equal the originals without the dropped channels."""

import numpy as np
import pytest
from prune_case import exported, pruning_errors

pytestmark = pytest.mark.tf
FAMILIES = {
    "MobileNetV3Small": 32,
    "MobileNetV2": 32,
    "EfficientNetB0": 32,
    "VGG16": 32,
    "ResNet50": 32,
    "DenseNet121": 32,
    "ConvNeXtTiny": 32,
    "InceptionV3": 75,
    "Xception": 71,
}
FAST = {"MobileNetV3Small"}


@pytest.mark.parametrize(
    "family",
    [pytest.param(f, marks=[] if f in FAST else [pytest.mark.slow]) for f in FAMILIES],
)
def test_pruned_equals_the_original_without_the_channels(family: str) -> None:
    """At a random 40 % of the groups, with random weights and statistics."""
    import keras

    size = FAMILIES[family]
    build = getattr(keras.applications, family)
    model = build(weights=None, input_shape=(size, size, 3), classes=10)
    errors = pruning_errors(model, seed=4)
    assert 1e-5 > errors["masked"]
    assert 1e-5 > errors["silenced"]
    assert errors["change"] > 1e-3
    assert errors["parameters"] < 1


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_pruned_is_exported_and_split(family: str) -> None:
    """As the bundle would have it: equal in onnxruntime, and in segments."""
    import keras

    size = FAMILIES[family]
    build = getattr(keras.applications, family)
    model = build(weights=None, input_shape=(size, size, 3), classes=10)
    pruned = pruning_errors(model, seed=5)["model"]
    x = np.random.default_rng(1).normal(size=(4, size, size, 3)).astype(np.float32)
    _, error, split = exported(pruned, x)
    assert 1e-5 > error
    assert 1e-5 > split
