"""Training: the same numbers for the same seed, the best epoch kept, clear ends."""

import msgspec
import numpy as np
import pytest

from headtail.errors import ConfigError, DataError
from optimizer.labelled import Labelled
from optimizer.network import Genome
from optimizer.recipe.recipe import AugmentConfig, TrainConfig
from optimizer.report.training import best_epoch
from optimizer.scores import score
from optimizer.training.steps import class_weights, draw_steps, learning_rates
from optimizer.training.training import Epoch, Lessons, run_training

pytestmark = pytest.mark.tf
CONFIG = TrainConfig(epochs=4, batch=16, learning_rate=0.02)


@pytest.fixture(scope="module", autouse=True)
def _tensorflow() -> None:
    """Load TensorFlow once, as the program does."""
    from optimizer.chatter import load_tensorflow

    load_tensorflow()


def ignore(epoch: Epoch) -> None:
    """Tell nobody of a pass."""


def bumps(count: int, seed: int):
    """Return windows with a bump early (class 0), late (1) or not at all (2)."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, count)
    x = rng.normal(0, 0.1, (count, 16, 1)).astype(np.float32)
    x[y == 0, 2:6] += 1
    x[y == 1, 10:14] += 1
    return Labelled(x, y)


def fit(config: TrainConfig = CONFIG, seed: int = 1, training=None):
    """Train a small network; return the model and how it went."""
    from optimizer.fast.weights import glorot, initialise
    from optimizer.training.keras_engine import KerasEngine, make_deterministic
    from optimizer.training.keras_model import build_keras

    training = training or bumps(96, 0)
    make_deterministic(seed)
    genome = Genome((16, 4, 2), (1, 2, 3), 3)
    model = build_keras(genome, weights=initialise(genome, glorot(genome, seed), training.x))
    rng = np.random.default_rng(seed)
    engine = KerasEngine(model)
    return model, run_training(engine, Lessons(training, bumps(60, 1)), config, rng, ignore)


def test_same_seed_gives_the_same_weights_bit_by_bit() -> None:
    """With everything random switched on."""
    augment = AugmentConfig(shift=1, gain=0.1, noise=0.01)
    config = TrainConfig(epochs=3, batch=16, balance="sample", augment=augment)
    (first, _), (second, _) = fit(config), fit(config)
    for a, b in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_another_seed_gives_other_weights() -> None:
    """Otherwise the test above would hold for a training that does nothing."""
    (first, _), (second, _) = fit(seed=1), fit(seed=2)
    assert any(
        not np.array_equal(a, b)
        for a, b in zip(first.get_weights(), second.get_weights(), strict=True)
    )


@pytest.mark.parametrize(
    ("select", "epoch"), [("accuracy", 2), ("macro_f1", 1), ("loss", 3), ("last", 4)]
)
def test_the_epoch_in_the_report_is_the_one_that_is_kept(select: str, epoch: int) -> None:
    """Of equally good ones the first."""
    told = [
        Epoch(1, 0.1, 0.9, 0.5, 0.8),
        Epoch(2, 0.1, 0.8, 0.7, 0.8),
        Epoch(3, 0.1, 0.3, 0.7, 0.6),
        Epoch(4, 0.1, 0.3, 0.6, 0.7),
    ]
    assert best_epoch(told, TrainConfig(select=select)) == epoch


def test_it_learns_and_keeps_the_weights_of_its_best_epoch() -> None:
    """What the model says afterwards is what was recorded for that epoch."""
    from optimizer.training.keras_engine import predict

    model, trained = fit(TrainConfig(epochs=12, batch=16, learning_rate=0.02))
    validation = bumps(60, 1)
    again = score(validation.y, predict(model, validation.x).argmax(axis=1), 3)
    best = trained.epochs[trained.best_epoch - 1]
    assert max(e.validation_macro_f1 for e in trained.epochs) == best.validation_macro_f1
    assert again.confusion.tolist() == trained.validation.confusion.tolist()
    assert again.accuracy > 0.7  # chance is a third


def test_steps_equal_those_of_keras_fit() -> None:
    """The compiled pass is Adam on the mean cross-entropy, as Keras itself does it."""
    import keras

    from optimizer.training.keras_engine import KerasEngine
    from optimizer.training.keras_model import build_keras

    training = bumps(64, 0)
    config = TrainConfig(
        epochs=1, batch=16, learning_rate=0.01, schedule="constant", balance="none"
    )
    ours, theirs = (build_keras(Genome((16, 4), (1, 2), 3), 1) for _ in range(2))
    order = np.random.default_rng(5).permutation(64)
    theirs.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    theirs.fit(training.x[order], training.y[order], 16, epochs=1, shuffle=False, verbose=0)
    engine, rng = KerasEngine(ours), np.random.default_rng(5)
    run_training(engine, Lessons(training, bumps(30, 1)), config, rng, ignore)
    for a, b in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_loss_that_is_no_number_ends_with_a_hint() -> None:
    """Named with its epoch and the key to change."""
    wild = bumps(32, 0)
    huge = Labelled(wild.x * np.float32(1e30), wild.y)
    with pytest.raises(ConfigError, match=r"the loss is nan in epoch [12]; lower learning_rate"):
        fit(TrainConfig(epochs=2, batch=16, learning_rate=1.0), training=huge)


def test_empty_split_is_refused() -> None:
    """Before anything is compiled."""
    from optimizer.training.keras_engine import KerasEngine
    from optimizer.training.keras_model import build_keras

    nothing = Labelled(np.empty((0, 16, 1), np.float32), np.empty(0, np.int64))
    model = build_keras(Genome((16,), (1,), 3), 1)
    rng = np.random.default_rng(1)
    with pytest.raises(DataError, match="validation split"):
        run_training(KerasEngine(model), Lessons(bumps(8, 0), nothing), CONFIG, rng, ignore)


def test_rates_are_those_by_hand() -> None:
    """Two passes of four steps: half a cosine, and a rise over the first pass."""
    config = TrainConfig(epochs=2, learning_rate=0.8)
    cosine = 0.4 * (1 + np.cos(np.pi * np.arange(8) / 8))
    np.testing.assert_allclose(learning_rates(config, 4), cosine)
    config = msgspec.structs.replace(config, warm_up=1)
    rise = [0.25, 0.5, 0.75, 1, 1, 1, 1, 1]
    np.testing.assert_allclose(learning_rates(config, 4), cosine * rise)
    config = msgspec.structs.replace(config, schedule="constant", warm_up=2)
    np.testing.assert_allclose(learning_rates(config, 4), 0.1 * np.arange(1, 9))


def test_steps_take_whole_batches_of_different_windows() -> None:
    """Two of four of nine windows; a batch larger than the data is all of it."""
    rng = np.random.default_rng(3)
    drawn = draw_steps(np.arange(9) % 3, 4, "none", rng)
    assert (2, 4) == drawn.shape
    assert 8 == len(np.unique(drawn))
    assert {*range(9)} == {*draw_steps(np.arange(9) % 3, 20, "none", rng)[0].tolist()}


@pytest.mark.parametrize(
    ("balance", "expected"),
    [("none", (1, 1)), ("weight", (10 / 18, 10 / 2)), ("root", (10 / 12, 10 / 4))],
)
def test_class_weights_are_those_by_hand(balance: str, expected: tuple[float, ...]) -> None:
    """Nine windows of one class, one of another, none of the third; their mean over windows is 1.

    With roots the sums of the two are as 3 to 1: 9 a = 3 b, and 9 a + b = 10.
    """
    labels = np.array([0] * 9 + [1])
    weights = class_weights(labels, 3, balance)
    assert weights[:2] == pytest.approx(expected)
    assert weights[labels].mean() == pytest.approx(1)
