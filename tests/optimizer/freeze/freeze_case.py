"""Small networks that hold what makes freezing hard, for all tests of it."""

import keras
import numpy as np

from headtail.tensor import Array
from optimizer.labelled import Labelled

K = keras.layers


def branching(dropout: float = 0.0, seed: int = 1) -> keras.Model:
    """Return a network with a skip, a concatenation, normalisations and a softmax; 3 classes."""
    keras.utils.set_random_seed(seed)
    x = keras.Input((8, 8, 3), name="x")
    stem = K.ReLU()(K.BatchNormalization(name="norm0")(K.Conv2D(4, 3, name="conv0")(x)))
    left = K.BatchNormalization(name="norm1")(K.Conv2D(4, 3, padding="same", name="conv1")(stem))
    joined = K.Add()([stem, left])
    right = K.Conv2D(5, 1, name="conv2", kernel_regularizer="l2")(stem)
    both = K.ReLU()(K.Concatenate()([joined, right]))
    if dropout:
        both = K.Dropout(dropout, seed=3)(both)
    deep = K.BatchNormalization(name="norm3")(K.Conv2D(6, 3, strides=2, name="conv3")(both))
    pooled = K.GlobalAveragePooling2D()(K.ReLU()(deep))
    return keras.Model(x, K.Dense(3, activation="softmax", name="dense")(pooled))


def nested(seed: int = 1) -> keras.Model:
    """Return a network of nested models: one in two levels, one shared by two calls."""
    keras.utils.set_random_seed(seed)
    inner = keras.Sequential(
        [
            keras.Input((6, 6, 4)),
            K.Conv2D(4, 3, padding="same", name="conv"),
            K.BatchNormalization(name="norm"),
        ],
        name="inner",
    )
    a = keras.Input((6, 6, 4))
    middle = keras.Model(a, K.Conv2D(4, 1, name="conv")(inner(a)) + a, name="middle")
    x = keras.Input((8, 8, 3), name="x")
    h = middle(K.Conv2D(4, 3, name="conv")(x))
    h = inner(h) * 0.5
    return keras.Model(x, K.Dense(3, activation="softmax", name="dense")(K.Flatten()(h)))


def images(count: int, seed: int = 0) -> Labelled:
    """Return images whose class is where they are bright, so that it can be learnt."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, count)
    x = rng.standard_normal((count, 8, 8, 3)).astype(np.float32)
    for i, label in enumerate(y):
        x[i, :, :, label] += 1.0
    return Labelled(x, y)


def randomise_statistics(model: keras.Model, seed: int = 5) -> None:
    """Give every BatchNormalization a mean and a variance that are not those it begins with."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        if weight.path.endswith(("moving_mean", "moving_variance")):
            weight.assign(rng.uniform(0.5, 2, weight.shape))


def weights_of(model: keras.Model) -> dict[str, Array]:
    """Return the weights by their path."""
    return {w.path: np.asarray(w) for w in model.weights}
