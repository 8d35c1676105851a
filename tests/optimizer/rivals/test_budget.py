"""Tests of what fine-tuning learns from: labels, a teacher, the penalty of the group lasso."""

import numpy as np
import pytest

from optimizer.images.config import ImageAugmentConfig, ImageTrainConfig

pytestmark = pytest.mark.tf
PLAIN = ImageTrainConfig(augment=ImageAugmentConfig("none"))


@pytest.fixture
def model(tensorflow: None) -> object:
    """Return a small classifier that ends before its softmax."""
    import keras

    keras.utils.set_random_seed(4)
    inputs = keras.Input((6, 6, 3))
    x = keras.layers.Conv2D(4, 3, activation="relu", name="conv")(inputs)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(3)(x))


def images() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return eight images, their classes, and even weights."""
    rng = np.random.default_rng(6)
    x = rng.random((8, 6, 6, 3), np.float32)
    return x, rng.integers(0, 3, 8), np.ones(8, np.float32)


def log_shares(logits: object) -> np.ndarray:
    """Return log-softmax in float64."""
    values = np.asarray(logits, np.float64)
    return values - np.log(np.exp(values).sum(axis=1, keepdims=True))


def test_the_loss_mixes_labels_and_what_the_teacher_says(model: object) -> None:
    """By hand: cross-entropy with 0.7 of the label and 0.3 of the teacher's shares."""
    import keras

    from optimizer.images.step import Stepper, Teacher

    teacher = keras.models.clone_model(model)
    x, y, weights = images()
    own, said = log_shares(model(x)), np.exp(log_shares(teacher(x)))
    targets = 0.7 * np.eye(3)[y] + 0.3 * said
    expected = -(targets * own).sum(axis=1).mean()
    before = [np.array(w) for w in teacher.get_weights()]
    stepper = Stepper(model, PLAIN, Teacher(teacher, 0.3))
    assert stepper.step(x, y, weights, 0.01, (0, 0)) == pytest.approx(expected, rel=1e-5)
    for one, other in zip(before, teacher.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_penalty_is_in_the_loss_and_shrinks_channels(model: object) -> None:
    """By hand: strength x root of the weights in a filter x its norm; the norms fall."""
    from optimizer.images.step import Stepper
    from optimizer.prune.groups import find_groups
    from optimizer.prune.lasso import add_group_lasso

    x, y, weights = images()
    plain = -log_shares(model(x))[np.arange(8), y].mean()
    kernel = model.get_layer("conv").kernel
    norms = np.linalg.norm(np.asarray(kernel).reshape(27, 4), axis=0)
    add_group_lasso(find_groups(model), 0.5)
    stepper = Stepper(model, PLAIN)
    loss = stepper.step(x, y, weights, 0.01, (0, 0))
    assert loss == pytest.approx(plain + 0.5 * np.sqrt(27) * norms.sum(), rel=1e-5)
    for i in range(20):
        stepper.step(x, y, weights, 0.01, (0, i))
    assert (np.linalg.norm(np.asarray(kernel).reshape(27, 4), axis=0) < 0.9 * norms).all()
