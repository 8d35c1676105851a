"""Pruning of small networks, one for each way in which channels hang together."""

import numpy as np
import pytest
from prune_case import exported, pruning_errors, random_keep, randomise, relative_error
from prune_networks import NETWORKS, build

from headtail.errors import PruningError

pytestmark = pytest.mark.tf
# By network: name and width of every group, worked out by hand.
GROUPS = {
    "plain": {"a": 8, "b": 6, "c": 10},
    "residual": {"a": 8},
    "branches": {"a": 4, "b": 6},
    "squeeze_excite": {"a": 8, "down": 5},
    "few_groups": {"a": 6, "grouped": 4, "b": 5},
    "many_groups": {"a": 6, "b": 3},
    "up_and_down": {"a": 6, "b": 8, "up": 5, "c": 4},
    "shared": {"b": 5, "twin": 6},
    "nested": {"b": 6, "inner/block/c": 7},
    "operations": {"a": 8, "c": 4, "d": 6},
    "shuffle": {"a": 2, "b": 3},
    "convnext": {"wide": 12},
}


@pytest.mark.parametrize("name", NETWORKS)
def test_pruned_equals_the_original_without_the_channels(name: str) -> None:
    errors = pruning_errors(build(name), seed=1, share=0.7)
    assert 1e-5 > errors["masked"]
    assert 1e-5 > errors["silenced"]
    assert errors["change"] > 1e-3


@pytest.mark.parametrize("name", NETWORKS)
def test_groups_are_those_worked_out_by_hand(name: str) -> None:
    from optimizer.prune.groups import find_groups

    assert GROUPS[name] == {g.name: g.width for g in find_groups(build(name)).groups}


@pytest.mark.parametrize("name", ["plain", "few_groups", "many_groups", "up_and_down", "convnext"])
def test_macs_and_outputs_are_those_of_the_exported_graph(name: str) -> None:
    """Counted node by node in ONNX, run in onnxruntime, and run in segments."""
    from optimizer.cut.count import count_operations
    from optimizer.prune.groups import find_groups
    from optimizer.prune.prune import prune

    rng = np.random.default_rng(2)
    model = build(name)
    randomise(model, rng)
    groups = find_groups(model)
    keep = random_keep(groups, rng, 0.7)
    x = rng.normal(size=(4, 6, 6, 3)).astype(np.float32)
    graph, error, split = exported(prune(model, keep).model, x)
    assert count_operations(graph, graph.nodes).macs == groups.macs(keep)
    assert 1e-5 > error
    assert 1e-5 > split


def test_the_weights_that_stay_are_the_original_ones() -> None:
    """By hand: a convolution, its normalisation, and a dense layer behind a flatten."""
    from optimizer.prune.prune import prune

    model = build("plain")
    randomise(model, np.random.default_rng(3))
    pruned = prune(model, {"a": [1, 4], "b": [0, 5]}).model
    kernel = model.get_layer("a").kernel.numpy()
    np.testing.assert_array_equal(kernel[..., [1, 4]], pruned.get_layer("a").kernel.numpy())
    for weight in ("gamma", "beta", "moving_mean", "moving_variance"):
        whole = getattr(model.get_layer("a_bn"), weight).numpy()
        kept = getattr(pruned.get_layer("a_bn"), weight).numpy()
        np.testing.assert_array_equal(whole[[1, 4]], kept)
    kernel = model.get_layer("b").kernel.numpy()[:, :, [1, 4]][..., [0, 5]]
    np.testing.assert_array_equal(kernel, pruned.get_layer("b").kernel.numpy())
    kernel = model.get_layer("c").kernel.numpy().reshape(3, 3, 6, 10)[:, :, [0, 5]]
    np.testing.assert_array_equal(kernel.reshape(18, 10), pruned.get_layer("c").kernel.numpy())


def test_names_trainable_flags_and_the_original_stay() -> None:
    import keras

    from optimizer.prune.prune import prune

    model = build("nested")
    model.get_layer("inner").get_layer("block").trainable = False
    before = [w.numpy() for w in model.weights]
    pruned = prune(model, {"b": [0, 2], "inner/block/c": [3]})
    assert {"b": (0, 2), "inner/block/c": (3,)} == pruned.keep
    assert [layer.name for layer in model.layers] == [layer.name for layer in pruned.model.layers]
    assert [w.path for w in model.trainable_weights] == [
        w.path for w in pruned.model.trainable_weights
    ]
    assert isinstance(pruned.model.get_layer("inner").get_layer("block"), keras.Sequential)
    for old, new in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(old, new.numpy())


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras's saving
def test_a_pruned_model_is_pruned_again_and_saved(tmp_path) -> None:
    import keras

    from optimizer.prune.prune import prune

    once = prune(build("squeeze_excite"), {"a": [0, 2, 3, 7]}).model
    twice = prune(once, {"a": [1, 2], "down": [4]}).model
    twice.save(tmp_path / "twice.keras")
    loaded = keras.models.load_model(tmp_path / "twice.keras")
    x = np.random.default_rng(0).normal(size=(2, 6, 6, 3)).astype(np.float32)
    np.testing.assert_allclose(twice(x), loaded(x), rtol=1e-6)


def test_an_unknown_layer_is_frozen_and_named() -> None:
    """What reads it and what it reads stay; the rest is pruned."""
    import keras

    from optimizer.prune.groups import find_groups
    from optimizer.prune.prune import prune

    @keras.saving.register_keras_serializable("tests")
    class Reversed(keras.layers.Layer):
        """A layer that mixes channels as no rule can know."""

        def call(self, x):
            return x[..., ::-1] * 2.0

    x = keras.Input((6, 6, 3))
    a = keras.layers.Conv2D(8, 1, name="a")(x)
    b = keras.layers.Conv2D(6, 1, name="b")(Reversed(name="odd")(a))
    c = keras.layers.Conv2D(5, 1, name="c")(b)
    model = keras.Model(x, keras.layers.Conv2D(2, 1, name="d")(c))
    groups = find_groups(model)
    assert {"b": 6, "c": 5} == {g.name: g.width for g in groups.groups}
    assert {("a", 8, "'odd' (Reversed), which no rule is known for")} == {
        (f.layer, f.count, f.reason) for f in groups.frozen if f.layer != "d"
    }
    errors = pruning_errors_of(model)
    assert 1e-5 > errors
    with pytest.raises(PruningError, match=r"'a': no such group; the first are b, c"):
        prune(model, {"a": [0]})


def pruning_errors_of(model) -> float:
    """Return how a randomly pruned model differs from the silenced one."""
    from optimizer.prune.groups import find_groups
    from optimizer.prune.prune import prune, silenced

    rng = np.random.default_rng(5)
    randomise(model, rng)
    groups = find_groups(model)
    keep = random_keep(groups, rng, 1.0)
    x = rng.normal(size=[n or 2 for n in model.inputs[0].shape]).astype(np.float32)
    pruned = prune(model, keep, groups).model
    return relative_error(pruned(x, training=False), silenced(model, keep, groups)(x))


@pytest.mark.parametrize(
    ("channels", "text"),
    [
        ([], "expected one or more different channels"),
        ([1, 1], "expected one or more different channels"),
        ([0, 8], "expected channels 0 to 7, received 8"),
        ([-1], "expected channels 0 to 7, received -1"),
    ],
)
def test_a_wrong_keep_set_is_refused(channels: list[int], text: str) -> None:
    from optimizer.prune.prune import prune

    with pytest.raises(PruningError, match=text):
        prune(build("plain"), {"a": channels})


def test_a_model_of_a_class_of_its_own_is_refused() -> None:
    import keras

    from optimizer.prune.groups import find_groups

    class Own(keras.Model):
        """A model that says what it does in code only."""

        def call(self, x):
            return x

    with pytest.raises(PruningError, match="expected a built functional or sequential one"):
        find_groups(Own(name="own"))
