"""The Keras network of a genome: its ends, its first weights."""

import numpy as np
import pytest

from headtail.errors import ShapeMismatch
from optimizer.fast.weights import glorot, initialise
from optimizer.network import Genome

SMALL = Genome((64, 16, 0, 32, 4), (1, 3, 2, 2, 4), classes=5)


@pytest.mark.tf
def test_keras_names_its_ends() -> None:
    """Input x, logits, probabilities y."""
    from optimizer.training.keras_model import build_keras

    model = build_keras(SMALL, seed=1)
    assert ["x", "logits", "y"] == [model.layers[i].name for i in (0, -2, -1)]
    assert (None, 64, 1) == model.input_shape
    y = np.asarray(model(np.zeros((2, 64, 1), np.float32)))
    assert pytest.approx(np.ones(2)) == y.sum(axis=1)


@pytest.mark.tf
def test_same_seed_same_weights() -> None:
    """Drawn from the seed alone; layers differ among themselves."""
    from optimizer.training.keras_model import build_keras

    models = [build_keras(SMALL, seed) for seed in (1, 1, 2)]
    one, same, other = ([w.numpy() for w in model.weights] for model in models)
    assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))
    assert not np.array_equal(one[0], other[0])


@pytest.mark.tf
def test_first_weights_are_as_wide_as_those_of_keras() -> None:
    """Glorot's limit of every kernel, as Keras' own initialiser has it."""
    import keras

    genome = Genome((4096, 512, 1024), (2, 64, 32), classes=3)
    for kernel in glorot(genome, 1)[::2]:
        theirs = np.asarray(keras.initializers.GlorotUniform(seed=1)(kernel.shape))
        assert pytest.approx(abs(theirs).max(), rel=0.01) == abs(kernel).max()
        assert pytest.approx(theirs.std(), rel=0.03) == kernel.std()


@pytest.mark.tf
def test_initialise_standardises_every_channel() -> None:
    """Before each ReLU every channel has mean 0.5 and variance 1 on the calibration windows."""
    import keras

    from optimizer.training.keras_model import build_keras

    x = np.random.default_rng(3).random((128, 64, 1), np.float32)
    model = build_keras(SMALL, weights=initialise(SMALL, glorot(SMALL, 3), x))
    before_relu = [layer.output for layer in model.layers if layer.name.startswith("conv")]
    for output in keras.Model(model.input, before_relu)(x):
        values = np.asarray(output)
        assert pytest.approx(np.full(values.shape[-1], 0.5), abs=1e-3) == values.mean(axis=(0, 1))
        assert pytest.approx(np.ones(values.shape[-1]), abs=1e-3) == values.std(axis=(0, 1))


def test_initialise_leaves_a_constant_channel_finite() -> None:
    """Calibration windows that never vary do not divide by zero."""
    weights = initialise(SMALL, glorot(SMALL, 1), np.ones((4, 64, 1), np.float32))
    assert all(np.isfinite(w).all() for w in weights)


@pytest.mark.parametrize("shape", [(4, 64), (4, 32, 1), (0, 64, 1)])
def test_initialise_refuses_other_windows(shape: tuple[int, ...]) -> None:
    """The text says what the network takes."""
    message = r"calibration windows: expected shape \(any, 64, 1\), received"
    with pytest.raises(ShapeMismatch, match=message):
        initialise(SMALL, glorot(SMALL, 1), np.zeros(shape, np.float32))
