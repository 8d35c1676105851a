"""The compiled trainer against Keras' `fit`: CPU seconds of the same training, side by side."""

import os
import time
from collections.abc import Callable

import numpy as np
import pytest

from optimizer.fast.engine import FastEngine
from optimizer.fast.weights import glorot, initialise
from optimizer.labelled import Labelled
from optimizer.network import Genome
from optimizer.recipe.recipe import TrainConfig
from optimizer.training.training import Lessons, run_training

pytestmark = [pytest.mark.bench, pytest.mark.tf]
EPOCHS, WINDOWS, BATCH, ROUNDS = 4, 2816, 32, 3
GENOMES = {
    "2048-32x4-8x3-128x2": Genome((2048, 32, 8, 128), (1, 4, 3, 2), 5),
    "192-48x1-48x8-24x8-24x10-12x10, kernels 5 and 3": Genome(
        (192, 48, 48, 24, 24, 12), (1, 1, 8, 8, 10, 10), 5, (1, 1, 5, 3, 5, 3)
    ),
}


def cpu_seconds(work: Callable[[], object]) -> float:
    """Return the processor time of this process, all its threads, that some work takes."""
    began = time.process_time()
    work()
    return time.process_time() - began


@pytest.mark.parametrize("name", GENOMES)
def test_training_against_keras_fit(name: str) -> None:
    """Both do the same passes from the same weights; compilation is outside, for both."""
    from optimizer.chatter import load_tensorflow

    load_tensorflow()
    import keras

    from optimizer.training.keras_model import build_keras

    genome = GENOMES[name]
    rng = np.random.default_rng(0)
    x = rng.random((WINDOWS, genome.lengths[0], 1), np.float32)
    data = Labelled(x, rng.integers(0, genome.classes, WINDOWS))
    weights = initialise(genome, glorot(genome, 1), x[:512])
    config = TrainConfig(epochs=EPOCHS, batch=BATCH, learning_rate=0.001, schedule="constant")
    few = Labelled(data.x[:64], data.y[:64])
    model = build_keras(genome, weights=weights)
    model.compile(keras.optimizers.Adam(0.001), "sparse_categorical_crossentropy")

    def ours() -> None:
        engine = FastEngine(genome, weights)
        lessons = Lessons(data, few)
        run_training(engine, lessons, config, np.random.default_rng(1), lambda epoch: None)

    def theirs() -> None:
        model.fit(data.x, data.y, BATCH, epochs=EPOCHS, verbose=0)

    ours(), theirs()  # compile
    pairs = [(cpu_seconds(ours), cpu_seconds(theirs)) for _ in range(ROUNDS)]
    ratios = sorted(keras_s / fast_s for fast_s, keras_s in pairs)
    fast_s, keras_s = (float(np.median(column)) for column in zip(*pairs, strict=True))
    print(
        f"\n{name}, {genome.footprints()[-1].operations.parameters} parameters,"
        f" {os.cpu_count()} cores: CPU seconds for 20 epochs of {WINDOWS} windows, batch {BATCH}:"
        f" compiled {fast_s * 20 / EPOCHS:.2f}, Keras fit {keras_s * 20 / EPOCHS:.2f};"
        f" ratio {ratios[len(ratios) // 2]:.1f} ({ratios[0]:.1f} to {ratios[-1]:.1f})"
    )
