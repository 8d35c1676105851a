"""Training under a mask: exactly that of the whole model, whatever is cached."""

import keras
import numpy as np
import pytest
from freeze_case import K, branching, images, nested, randomise_statistics, weights_of

from headtail.errors import ConfigError, DataError
from headtail.tensor import Array
from optimizer.freeze.config import FreezeTrainConfig
from optimizer.freeze.frontier import find_frontier
from optimizer.freeze.layers import apply_mask
from optimizer.freeze.mask import parse_mask
from optimizer.freeze.network import read_network
from optimizer.freeze.prefix import PrefixCache
from optimizer.freeze.training import FreezeLessons, FrozenTrainer
from optimizer.labelled import Labelled
from optimizer.training.steps import draw_order

pytestmark = pytest.mark.tf
LESSONS = FreezeLessons(images(27), images(30, seed=1))
CONFIG = FreezeTrainConfig(epochs=2, batch=8, learning_rate=0.01, optimizer="momentum")
# conv0 norm0 conv1 conv2 norm1 conv3 norm3 dense, by depth
MASKS = ["00000111", "00101000", "01000000", "11111111"]


def by_keras(model: keras.Model, mask: str, config: FreezeTrainConfig, seed: int) -> None:
    """Train the whole model with Keras' own step, from the same order."""
    apply_mask(model, read_network(model).layers, parse_mask(mask))
    optimizer = {
        "momentum": keras.optimizers.SGD(config.learning_rate, 0.9),
        "adam": keras.optimizers.Adam(config.learning_rate),
    }[config.optimizer]
    model.compile(optimizer, "sparse_categorical_crossentropy")
    data, rng = LESSONS.training, np.random.default_rng([seed, 0])
    for _ in range(config.epochs):
        order = draw_order(data.y, "none", rng)
        for step in range(len(order) // config.batch):
            chosen = order[step * config.batch : (step + 1) * config.batch]
            model.train_on_batch(data.x[chosen], data.y[chosen])


def assert_same_weights(a: dict[str, Array], b: dict[str, Array]) -> None:
    for one, other in zip(a.values(), b.values(), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5)


@pytest.mark.parametrize("mask", MASKS)
def test_training_the_rest_is_training_the_whole(mask: str) -> None:
    """With skips, batch statistics, a penalty on weights and dropout behind the frontier."""
    ours, theirs = branching(dropout=0.5), branching(dropout=0.5)
    for model in (ours, theirs):
        randomise_statistics(model)
    network = read_network(ours)
    before = weights_of(ours)
    trained = FrozenTrainer(network, LESSONS, CONFIG, 4).train(parse_mask(mask))
    by_keras(theirs, mask, CONFIG, seed=4)
    assert_same_weights(weights_of(theirs), weights_of(ours))
    assert any((before[name] != value).any() for name, value in weights_of(ours).items())
    for layer, letter in zip(network.layers, mask, strict=True):
        is_same = all((before[w.path] == np.asarray(w)).all() for w in layer.layer.weights)
        assert is_same == (letter == "0"), layer.name
    assert (trained.cached_bytes > 0) == (mask[0] == "0")


@pytest.mark.parametrize("mask", ["00010", "01001"])
def test_nested_and_shared_models_too(mask: str) -> None:
    """Masks that leave a shared model frozen in both of its calls, and not."""
    ours, theirs = nested(), nested()
    FrozenTrainer(read_network(ours), LESSONS, CONFIG, 4).train(parse_mask(mask))
    by_keras(theirs, mask, CONFIG, seed=4)
    assert_same_weights(weights_of(theirs), weights_of(ours))


def test_adam_too() -> None:
    ours, theirs = branching(), branching()
    config = FreezeTrainConfig(epochs=2, batch=8, learning_rate=0.001)
    FrozenTrainer(read_network(ours), LESSONS, config, 4).train(parse_mask("00000111"))
    by_keras(theirs, "00000111", config, seed=4)
    assert_same_weights(weights_of(theirs), weights_of(ours))


def flip(x: Array, rng: np.random.Generator) -> Array:
    """Mirror half of the images."""
    return np.where(rng.random(len(x))[:, None, None, None] < 0.5, x[:, :, ::-1], x)


@pytest.mark.parametrize("copies", [1, 2, 0])
def test_augmented_training_is_the_same_without_cache(copies: int) -> None:
    """Copies made once are cached; drawn anew for every pass, nothing is."""
    lessons = FreezeLessons(LESSONS.training, LESSONS.validation, flip)
    weights, cached = [], []
    for cache_mib in (0, 100):
        config = FreezeTrainConfig(
            epochs=3, batch=8, optimizer="sgd", copies=copies, cache_mib=cache_mib
        )
        model = branching()
        network = read_network(model)
        done = FrozenTrainer(network, lessons, config, 4).train(parse_mask("00000111"))
        weights.append(weights_of(model))
        cached.append(done.cached_bytes)
    assert_same_weights(*weights)
    assert 0 == cached[0]
    assert (copies > 0) == (cached[1] > 0)


def test_copies_are_different_and_come_in_turn() -> None:
    """One copy is seen in every pass, two in every other."""
    seen: list[Array] = []

    def watch(x: Array, rng: np.random.Generator) -> Array:
        seen.append(flip(x, rng))
        return seen[-1]

    lessons = FreezeLessons(LESSONS.training, LESSONS.validation, watch)
    for copies, different in ((1, 1), (2, 2), (0, 4)):
        seen.clear()
        config = FreezeTrainConfig(epochs=4, batch=8, copies=copies, cache_mib=0)
        FrozenTrainer(read_network(branching()), lessons, config, 1).train(parse_mask("00000001"))
        assert different == len({one.tobytes() for one in seen})


def test_same_again_after_another_mask() -> None:
    """Every training begins with the weights, and the dropout, that the network came with."""
    model = branching(dropout=0.5)
    trainer = FrozenTrainer(read_network(model), LESSONS, CONFIG, 2)
    results = []
    for mask in ("00000111", "11111111", "00000111"):
        trainer.train(parse_mask(mask))
        results.append(weights_of(model))
    for name, value in results[0].items():
        np.testing.assert_array_equal(value, results[2][name])


def test_the_frontier_holds_what_the_rest_needs() -> None:
    """Of a branching network: the stem's output and a branch's; ahead of a dropout, no further."""
    network = read_network(branching())
    names = {layer.name: i for i, layer in enumerate(network.layers)}
    mask = tuple(i == names["conv2"] or i == names["dense"] for i in range(len(names)))
    frontier = find_frontier(network.calls, network.traits, mask)
    shapes = sorted(network.calls.window_shape(i) for i in frontier.tensors)
    assert [(6, 6, 4), (6, 6, 4)] == shapes
    assert 2 * 6 * 6 * 4 * 4 == frontier.window_bytes
    assert len(network.calls.calls) == len(frontier.prefix) + len(frontier.rest)
    drawing = read_network(branching(dropout=0.5))
    mask = (False,) * 7 + (True,)
    deep = find_frontier(network.calls, network.traits, mask)
    shallow = find_frontier(drawing.calls, drawing.traits, mask)
    assert [(6,), (6, 6, 9)] == [
        f.calls.window_shape(g.tensors[0]) for f, g in ((network, deep), (drawing, shallow))
    ]


def test_the_deepest_frontier_that_fits_is_taken() -> None:
    """A bound below the smallest tensor leaves everything to every pass."""
    network = read_network(branching())
    mask = (False,) * 7 + (True,)
    sizes = []
    for most in (10_000, 1_000, 100, 20):
        frontier = find_frontier(network.calls, network.traits, mask, most)
        assert frontier.window_bytes <= most
        sizes.append(frontier.window_bytes)
    assert [24, 24, 24, 0] == sizes


def test_least_lately_used_activations_make_room() -> None:
    network = read_network(branching())
    frontiers = [
        find_frontier(network.calls, network.traits, parse_mask(m))
        for m in ("00000001", "00000100")
    ]
    x = images(10).x
    sizes = [10 * f.window_bytes for f in frontiers]
    cache, asked = PrefixCache(max(sizes)), []

    def windows() -> Array:
        asked.append(1)
        return x

    for frontier in (frontiers[0], frontiers[0], frontiers[1], frontiers[0]):
        cache.tensors(network.calls, frontier, "x", windows)
    assert 3 == len(asked)


def test_a_mask_that_trains_nothing_is_evaluated() -> None:
    model = branching()
    before = weights_of(model)
    done = FrozenTrainer(read_network(model), LESSONS, CONFIG, 1).train((False,) * 8)
    assert ((), None) == (done.passes, done.loss)
    assert 30 == done.validation.confusion.sum()
    assert_same_weights(before, weights_of(model))


def test_training_learns() -> None:
    """More than a network that is not trained."""
    config = FreezeTrainConfig(epochs=8, batch=8, learning_rate=0.01)
    lessons = FreezeLessons(images(200), images(60, seed=1))
    done = FrozenTrainer(read_network(branching()), lessons, config, 1).train((True,) * 8)
    assert done.validation.accuracy > 0.7
    assert done.passes[-1].loss < done.passes[0].loss


def test_bad_input_is_refused() -> None:
    network = read_network(branching())
    x, y = LESSONS.training.x, LESSONS.training.y
    empty = FreezeLessons(LESSONS.training, Labelled(x[:0], y[:0]))
    with pytest.raises(DataError, match="validation split: expected windows"):
        FrozenTrainer(network, empty, CONFIG, 1)
    trainer = FrozenTrainer(
        network, FreezeLessons(Labelled(x * np.nan, y), LESSONS.validation), CONFIG, 1
    )
    with pytest.raises(ConfigError, match="the loss is nan in epoch 1; lower learning_rate"):
        trainer.train((True,) * 8)
    windows = keras.Input((4, 2))
    shallow = read_network(keras.Model(windows, K.Dense(2)(windows)))
    with pytest.raises(ConfigError, match=r"one output of shape \(N, classes\)"):
        FrozenTrainer(shallow, LESSONS, CONFIG, 1)
