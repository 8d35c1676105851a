"""CPU seconds per epoch when the last 10, 50 and 100 % of the layers are trained, prefix cached."""

import itertools
import statistics
import time

import numpy as np
import pytest

from headtail.tensor import Array
from optimizer.freeze.config import FreezeTrainConfig
from optimizer.freeze.mask import tail_mask
from optimizer.labelled import Labelled

pytestmark = [pytest.mark.bench, pytest.mark.tf]
CLASSES, WINDOWS, BATCH, PASSES = 9, 40, 20, 3
SIZES = {"InceptionV3": 75, "VGG16": 32, "MobileNetV2": 96}


def noise(size: int, count: int) -> Labelled:
    """Return images of noise: what they show takes no time."""
    rng = np.random.default_rng(0)
    x: Array = rng.random((count, size, size, 3), np.float32)
    return Labelled(x, rng.integers(0, CLASSES, count))


@pytest.mark.parametrize("name", SIZES)
def test_time_per_epoch(name: str) -> None:
    """The first pass, which builds the graph and fills the cache, is outside."""
    from optimizer.chatter import load_tensorflow

    load_tensorflow()
    import keras

    from optimizer.freeze.costs import Schedule
    from optimizer.freeze.network import read_network
    from optimizer.freeze.training import FreezeLessons, FrozenTrainer

    size = SIZES[name]
    build = getattr(keras.applications, name)
    model = build(input_shape=(size, size, 3), weights=None, include_top=False, pooling="avg")
    shares = keras.layers.Dense(CLASSES, activation="softmax")(model.outputs[0])
    network = read_network(keras.Model(model.inputs, shares))
    lessons = FreezeLessons(noise(size, WINDOWS), noise(size, 1))
    whole = None
    print(f"\n{name} at {size} x {size}, {len(network.layers)} layers, batch {BATCH}:")
    for share in (1.0, 0.5, 0.1):
        mask = tail_mask(len(network.layers), share)
        for cache_mib in (0, 1024):
            config = FreezeTrainConfig(epochs=PASSES, batch=BATCH, cache_mib=cache_mib)
            clock = [time.process_time()]
            trainer = FrozenTrainer(network, lessons, config, 1)
            done = trainer.train(mask, lambda _, clock=clock: clock.append(time.process_time()))
            passes = [later - earlier for earlier, later in itertools.pairwise(clock)]
            seconds = statistics.median(passes[1:])
            whole = whole or seconds
            steady = Schedule(BATCH, 1, 0 if cache_mib else 1)
            predicted = network.costs.training_share(mask, steady)
            print(
                f"  {share:4.0%} of layers trained, cache {'on ' if cache_mib else 'off'}: CPU"
                f" {seconds / WINDOWS * 1000:7.2f} ms an image and epoch, {seconds / whole:6.1%} of"
                f" training all, {predicted:6.1%} predicted from operations;"
                f" {done.cached_bytes / WINDOWS / 1024:.0f} KiB kept for an image"
            )
