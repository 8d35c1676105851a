"""Tests of the training loop: learning, seeds, resuming, frozen layers, augmentation."""

from pathlib import Path

import numpy as np
import pytest

from headtail.errors import ConfigError, DataError
from optimizer.data.dataset import Split
from optimizer.images.config import ImageAugmentConfig, ImageTrainConfig

pytestmark = [
    pytest.mark.tf,
    # Keras 3.15 saves its variables with numpy's old protocol.
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]
SHAPE = (16, 16, 3)
CONFIG = ImageTrainConfig(
    epochs=3, batch=16, augment=ImageAugmentConfig("both", rotation_degrees=10, shift=0.1)
)


def blobs(count: int, seed: int) -> Split:
    """Return images whose class is the colour that is brightest in them, with noise."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, count)
    x = rng.integers(0, 120, (count, *SHAPE))
    x[np.arange(count), :, :, y] += 60
    return Split(x.astype(np.uint8), y)


def lessons() -> object:
    """Return 96 images to learn from and 30 to choose with."""
    from optimizer.images.training import ImageLessons

    return ImageLessons(blobs(96, 1), blobs(30, 2))


def fresh() -> object:
    """Return a small classifier with the first weights of seed 5: normalisation and dropout too."""
    import keras

    from optimizer.training.keras_engine import make_deterministic

    make_deterministic(5)
    inputs = keras.Input(SHAPE)
    x = keras.layers.Conv2D(6, 3, strides=4)(inputs)
    x = keras.layers.BatchNormalization(momentum=0.9)(x)
    x = keras.layers.Activation("relu")(x)
    x = keras.layers.Dropout(0.1)(keras.layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, keras.layers.Softmax()(keras.layers.Dense(3)(x)))


class Killed(Exception):
    """The process ends here."""


def test_learns_and_tells_how_far_it_is() -> None:
    """What brightest colour an image has is learnt; the best epoch's weights are kept."""
    from optimizer.images.evaluate import evaluate
    from optimizer.images.training import Watch, train

    model, given, seen = fresh(), lessons(), []
    config = ImageTrainConfig(epochs=8, batch=16, learning_rate=0.01)
    ticks = iter(range(100))
    trained = train(
        model, given, config, 1, Watch(lambda *a: seen.append(a), clock=lambda: float(next(ticks)))
    )
    assert [(i + 1, 48) for i in range(48)] == [(done, total) for done, total, _ in seen]
    assert ("epoch 1/8", "epoch 8/8, validation") == (seen[0][2], seen[-1][2][:21])
    assert trained.validation.accuracy > 0.9
    assert trained.epochs[-1].loss < trained.epochs[0].loss
    accuracies = [e.validation_accuracy for e in trained.epochs]
    assert accuracies.index(max(accuracies)) + 1 == trained.best_epoch
    scores = evaluate(model, given.validation)
    np.testing.assert_array_equal(trained.validation.confusion, scores.confusion)
    assert (1.0,) * 8 == trained.epoch_s


def test_interrupted_training_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    """Killed in its second epoch and started anew, dropout and augmentation included."""
    from optimizer.images.training import Watch, train

    given, path = lessons(), tmp_path / "new" / "training.npz"
    whole = fresh()
    expected = train(whole, given, CONFIG, 1)

    def die(done: int, total: int, note: str) -> None:
        if done == 9:
            raise Killed

    with pytest.raises(Killed):
        train(fresh(), given, CONFIG, 1, Watch(die, path))
    steps: list[int] = []
    resumed = fresh()
    actual = train(
        resumed, given, CONFIG, 1, Watch(lambda done, total, note: steps.append(done), path)
    )
    assert list(range(7, 19)) == steps
    assert (expected.epochs, expected.best_epoch) == (actual.epochs, actual.best_epoch)
    for a, b in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    again = fresh()
    assert actual.epochs == train(again, given, CONFIG, 1, Watch(checkpoint=path)).epochs
    np.testing.assert_array_equal(whole.get_weights()[0], again.get_weights()[0])


def test_seed_draws_order_and_augmentation() -> None:
    from optimizer.images.training import train

    given = lessons()
    first, same, other = (train(fresh(), given, CONFIG, seed) for seed in (1, 1, 2))
    assert first.epochs == same.epochs
    assert first.epochs != other.epochs


def test_checkpoint_of_another_training_is_refused(tmp_path: Path) -> None:
    from optimizer.images.training import Watch, train

    watch = Watch(checkpoint=tmp_path / "t.npz")
    config = ImageTrainConfig(epochs=1, batch=32)
    train(fresh(), lessons(), config, 1, watch)
    with pytest.raises(ConfigError, match=r"t\.npz: is of another training"):
        train(fresh(), lessons(), config, 2, watch)
    (tmp_path / "t.npz").write_bytes((tmp_path / "t.npz").read_bytes()[:3000])
    with pytest.raises(ConfigError, match=r"t\.npz: damaged checkpoint: .*; remove it"):
        train(fresh(), lessons(), config, 1, watch)


def test_frozen_layers_and_their_normalisations_stay() -> None:
    from optimizer.images.training import train

    model = fresh()
    for layer in model.layers[:-2]:
        layer.trainable = False
    before = model.get_weights()
    train(model, lessons(), ImageTrainConfig(epochs=1, batch=32, weight_decay=0.1), 1)
    same = [np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True)]
    assert [True] * (len(same) - 2) + [False, False] == same
    for layer in model.layers:
        layer.trainable = False
    with pytest.raises(ConfigError, match="all are frozen"):
        train(model, lessons(), ImageTrainConfig(epochs=1), 1)


def test_model_whose_softmax_is_an_activation_is_trained_too() -> None:
    import keras

    from optimizer.images.evaluate import evaluate
    from optimizer.images.training import train

    fresh()
    x = keras.layers.GlobalAveragePooling2D()(inputs := keras.Input(SHAPE))
    model = keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(x))
    given = lessons()
    trained = train(model, given, ImageTrainConfig(epochs=20, batch=16, learning_rate=0.1), 1)
    assert trained.validation.accuracy > 0.9
    np.testing.assert_array_equal(
        trained.validation.confusion, evaluate(model, given.validation).confusion
    )


def test_one_step_is_adam_on_the_weighted_cross_entropy() -> None:
    """Against the formula, by hand: a linear model, weights per image, label smoothing."""
    import keras

    from optimizer.images.step import Stepper

    x = np.random.default_rng(0).random((4, 1, 1, 3)).astype(np.float32)
    y, share = np.array([0, 1, 1, 0]), np.array([2, 0.5, 0.5, 1], np.float32)
    flat = keras.layers.Flatten()(inputs := keras.Input((1, 1, 3)))
    model = keras.Model(inputs, keras.layers.Dense(2)(flat))
    kernel, bias = (w.copy() for w in model.get_weights())
    config = ImageTrainConfig(label_smoothing=0.2, augment=ImageAugmentConfig("none"))
    loss = Stepper(model, config).step(x, y, share, 0.01, (0, 0))
    logits = x[:, 0, 0] @ kernel + bias
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    targets = 0.8 * np.eye(2)[y] + 0.1
    assert pytest.approx((-(targets * np.log(shares)).sum(axis=1) * share).mean(), 1e-5) == loss
    gradient = x[:, 0, 0].T @ ((shares - targets) * share[:, None]) / 4
    # Adam's first step is the rate times the gradient's sign (Kingma & Ba, algorithm 1).
    expected = kernel - 0.01 * gradient / (np.abs(gradient) + 1e-7 / np.sqrt(0.001))
    np.testing.assert_allclose(model.get_weights()[0], expected, atol=2e-5)


def test_weight_decay_shrinks_kernels_only() -> None:
    """Where no image counts there is no gradient: a kernel loses rate x decay, a bias nothing."""
    import keras

    from optimizer.images.step import Stepper

    flat = keras.layers.Flatten()(inputs := keras.Input((1, 1, 3)))
    dense = keras.layers.Dense(2, bias_initializer="ones")
    model = keras.Model(inputs, dense(flat))
    kernel = model.get_weights()[0].copy()
    config = ImageTrainConfig(weight_decay=0.5, augment=ImageAugmentConfig("none"))
    x, none = np.ones((2, 1, 1, 3), np.float32), np.zeros(2, np.float32)
    Stepper(model, config).step(x, np.array([0, 1]), none, 0.1, (0, 0))
    np.testing.assert_allclose(0.95 * kernel, model.get_weights()[0], rtol=1e-6)
    np.testing.assert_array_equal([1, 1], model.get_weights()[1])


def test_rates_rise_and_fall_as_those_of_every_training() -> None:
    """By hand: three passes of two steps, the rise over the first times half a cosine over all."""
    from optimizer.training.steps import learning_rates

    config = ImageTrainConfig(epochs=3, learning_rate=1.0, warm_up=1)
    expected = [0.5, *(0.5 + 0.5 * np.cos(np.pi * np.arange(1, 6) / 6))]
    np.testing.assert_allclose(expected, learning_rates(config, 2), rtol=1e-6)
    constant = ImageTrainConfig(epochs=2, learning_rate=0.1, schedule="constant")
    np.testing.assert_allclose([0.1] * 4, learning_rates(constant, 2))


def test_empty_split_is_refused() -> None:
    from optimizer.images.training import ImageLessons

    with pytest.raises(DataError, match="validation split: expected windows"):
        ImageLessons(blobs(3, 0), blobs(0, 0))


def test_loss_that_leaves_the_numbers_is_named() -> None:
    from optimizer.images.training import ImageLessons, train

    broken = Split(np.full((8, *SHAPE), np.nan, np.float32), np.arange(8) % 3)
    with pytest.raises(ConfigError, match="the loss is nan in epoch 1; lower learning_rate"):
        train(fresh(), ImageLessons(broken, blobs(3, 0)), ImageTrainConfig(epochs=1, batch=4), 1)
