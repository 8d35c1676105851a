"""What cannot be pruned is kept and named; the rest of the model is pruned exactly."""

import numpy as np
import pytest
from prune_case import random_keep, randomise, relative_error

from headtail.errors import PruningError

pytestmark = pytest.mark.tf


def check(model, expected: dict[str, str]) -> None:
    """Check that exactly these layers are frozen, by a part of the reason, and prune the others."""
    import keras

    from optimizer.prune.groups import find_groups
    from optimizer.prune.prune import prune, silenced

    rng = np.random.default_rng(3)
    randomise(model, rng)
    groups = find_groups(model)
    assert expected.keys() == {f.layer for f in groups.frozen}
    for frozen in groups.frozen:
        assert expected[frozen.layer] in frozen.reason
    assert groups.groups
    keep = random_keep(groups, rng, 1.0)
    x = [
        rng.normal(size=[2, *(n or 5 for n in t.shape[1:])]).astype(np.float32)
        for t in model.inputs
    ]
    x = x if len(x) > 1 else x[0]
    pruned = keras.tree.flatten(prune(model, keep, groups).model(x, training=False))
    expected_outputs = keras.tree.flatten(silenced(model, keep, groups)(x, training=False))
    for received, wanted in zip(pruned, expected_outputs, strict=True):
        assert 1e-5 > relative_error(received, wanted)


def test_an_activation_of_ones_own() -> None:
    import keras

    @keras.saving.register_keras_serializable("tests")
    def relu(t):
        """Share the name of one of Keras, and mix channels."""
        return t - keras.ops.mean(t, axis=-1, keepdims=True)

    x = keras.Input((4, 4, 3))
    h = keras.layers.Conv2D(6, 1, name="a", activation=relu)(x)
    h = keras.layers.Conv2D(5, 1, name="b")(h)
    check(
        keras.Model(x, keras.layers.Conv2D(2, 1, name="c")(h)),
        {"a": "activation 'relu' of 'a'", "c": "model output 'c'"},
    )


def test_a_softmax_over_channels_and_what_it_multiplies() -> None:
    import keras

    x = keras.Input((4, 4, 3))
    a = keras.layers.Conv2D(6, 1, name="a")(x)
    gate = keras.layers.Conv2D(6, 1, name="gate")(x)
    h = keras.layers.Multiply(name="m")([a, keras.layers.Softmax(name="s")(gate)])
    h = keras.layers.Conv2D(5, 1, name="b")(h)
    check(
        keras.Model(x, keras.layers.Conv2D(2, 1, name="c")(h)),
        {"a": "'m' with softmax 's'", "gate": "softmax 's'", "c": "model output 'c'"},
    )


def test_a_lambda_layer() -> None:
    """Which Keras will not make again from its configuration."""
    import keras

    x = keras.Input((4, 4, 3))
    h = keras.layers.Conv2D(6, 1, name="a")(x)
    h = keras.layers.Lambda(lambda t: t * 2.0, name="double")(h)
    h = keras.layers.Conv2D(5, 1, name="b")(h)
    check(
        keras.Model(x, keras.layers.Conv2D(2, 1, name="c")(h)),
        {"a": "'double' (Lambda), which no rule is known for", "c": "model output 'c'"},
    )


def test_several_inputs_and_outputs() -> None:
    import keras

    x, z = keras.Input((4, 4, 3), name="x"), keras.Input((4, 4, 5), name="z")
    a = keras.layers.Conv2D(5, 1, name="a")(x)
    b = keras.layers.Conv2D(4, 1, name="b")(keras.layers.Add(name="sum")([a, z]))
    c = keras.layers.Conv2D(4, 1, name="c")(b)
    d = keras.layers.Conv2D(3, 1, name="d")(b)
    check(
        keras.Model([x, z], {"left": c, "right": d}),
        {"a": "'sum' with model input 'z'", "c": "model output 'c'", "d": "model output 'd'"},
    )


def test_channels_side_by_side_in_space() -> None:
    """A concatenation along rows ties channels; one along columns of a fixed tensor freezes."""
    import keras

    x = keras.Input((4, 4, 3), name="x")
    a, b = (keras.layers.Conv2D(4, 1, name=n)(x) for n in "ab")
    c = keras.layers.Conv2D(3, 1, name="c")(keras.layers.Conv2D(5, 1, name="d")(x))
    h = keras.layers.Concatenate(axis=1)([a, b])
    h = keras.layers.Concatenate(axis=2)([h, keras.layers.UpSampling2D((2, 1))(a)])
    beside = keras.layers.Concatenate(axis=1, name="beside")([c, x])
    h = keras.layers.Concatenate()([h, keras.layers.UpSampling2D((1, 2))(beside)])
    check(
        keras.Model(x, keras.layers.Conv2D(2, 1, name="y")(h)),
        {"c": "'beside' with model input 'x'", "y": "model output 'y'"},
    )


def test_open_sizes_are_pruned_but_have_no_cost() -> None:
    import keras

    from optimizer.prune.groups import find_groups

    x = keras.Input((None, None, 3))
    h = keras.layers.Conv2D(6, 3, activation="relu", name="a")(x)
    h = keras.layers.GlobalAveragePooling2D()(h)
    model = keras.Model(x, keras.layers.Dense(2, name="y")(h))
    check(model, {"y": "model output 'y'"})
    with pytest.raises(PruningError, match="layer 'a': its input has open sizes"):
        find_groups(model).macs({})


def test_dropout_with_a_shape_of_its_own() -> None:
    import keras

    x = keras.Input((4, 4, 3))
    h = keras.layers.Conv2D(6, 1, name="a")(x)
    h = keras.layers.Dropout(0.5, noise_shape=(None, 1, 1, 6), name="drop")(h)
    h = keras.layers.Conv2D(5, 1, name="b")(h)
    check(
        keras.Model(x, keras.layers.Conv2D(2, 1, name="c")(h)),
        {"a": "'drop' drops by a shape of its own", "c": "model output 'c'"},
    )
