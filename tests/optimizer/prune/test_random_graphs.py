"""Random networks: whatever hangs together with whatever, pruning is exact."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prune_case import pruning_errors

pytestmark = pytest.mark.tf
KINDS = {
    "conv": lambda layers, a, n: layers.Conv2D(4 * (1 + n % 3), 3, padding="same")(a),
    "grouped": lambda layers, a, n: layers.Conv2D(
        a.shape[-1], 3, groups=(2, 4, a.shape[-1])[n % 3], padding="same"
    )(a),
    "depthwise": lambda layers, a, _: layers.DepthwiseConv2D(3, padding="same")(a),
    "separable": lambda layers, a, _: layers.SeparableConv2D(4, 3, padding="same")(a),
    "batch_norm": lambda layers, a, _: layers.BatchNormalization()(a),
    "group_norm": lambda layers, a, _: layers.GroupNormalization(4)(a),
    "layer_norm": lambda layers, a, _: layers.LayerNormalization()(a),
    "relu": lambda layers, a, _: layers.ReLU()(a),
    "sigmoid": lambda layers, a, _: layers.Activation("sigmoid")(a),
    "pool": lambda layers, a, _: layers.AveragePooling2D(3, 1, "same")(a),
    "project": lambda layers, a, _: layers.Add()([a, layers.Conv2D(a.shape[-1], 1)(a)]),
}
MEETINGS = ("add", "multiply", "concat", "gate")


@given(
    st.lists(
        st.tuples(st.sampled_from([*KINDS, *MEETINGS]), st.integers(0, 9), st.integers(0, 9)),
        max_size=10,
    ),
    st.integers(0, 999),
    st.booleans(),
)
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_network_is_pruned_exactly(steps: list, seed: int, flat: bool) -> None:
    """Each step reads tensors that came before it, and adds one; all of them have one size."""
    import keras

    layers = keras.layers
    x = keras.Input((4, 4, 2))
    tensors = [layers.Conv2D(4, 1)(x), layers.Conv2D(8, 1)(x)]
    for kind, left, right in steps:
        a, b = (tensors[i % len(tensors)] for i in (left, right))
        tensors.append(_step(layers, kind, a, b, left))
    end = layers.Concatenate()([tensors[-1], tensors[seed % len(tensors)]])
    end = layers.Flatten()(end) if flat else layers.GlobalMaxPooling2D()(end)
    errors = pruning_errors(keras.Model(x, layers.Dense(3)(end)), seed, 0.6)
    assert 1e-5 > errors["masked"]
    assert 1e-5 > errors["silenced"]


def _step(layers, kind: str, a, b, number: int):
    if kind in KINDS:
        return KINDS[kind](layers, a, number)
    width = a.shape[-1]
    if kind == "concat":
        return layers.Concatenate()([a, b])
    if kind == "gate":
        gate = layers.GlobalAveragePooling2D(keepdims=True)(b)
        return layers.Multiply()([a, layers.Conv2D(width, 1, activation="sigmoid")(gate)])
    merge = layers.Add() if kind == "add" else layers.Multiply()
    return merge([a, b if b.shape[-1] == width else layers.Conv2D(width, 1)(b)])
