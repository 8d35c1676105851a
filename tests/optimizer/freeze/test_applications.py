"""Training under a mask on the networks of keras.applications: the prefix changes nothing."""

import keras
import numpy as np
import pytest
from freeze_case import K, weights_of

from optimizer.freeze.config import FreezeTrainConfig
from optimizer.freeze.layers import apply_mask
from optimizer.freeze.mask import tail_mask
from optimizer.freeze.network import read_network
from optimizer.freeze.training import FreezeLessons, FrozenTrainer
from optimizer.labelled import Labelled
from optimizer.training.steps import draw_order

pytestmark = [pytest.mark.tf, pytest.mark.slow]
CONFIG = FreezeTrainConfig(epochs=2, batch=8, learning_rate=0.001, optimizer="sgd")
SIZES = {"MobileNetV2": 32, "InceptionV3": 75, "EfficientNetB0": 32}


@pytest.mark.parametrize("name", SIZES)
def test_training_the_rest_is_training_the_whole(name: str) -> None:
    """The last fifth of the layers, without one in its middle, by Keras' own step."""
    size = SIZES[name]
    keras.utils.set_random_seed(1)
    build = getattr(keras.applications, name)
    base = build(input_shape=(size, size, 3), weights=None, include_top=False, pooling="avg")
    model = keras.Model(base.inputs, K.Dense(3, activation="softmax")(base.outputs[0]))
    network = read_network(model)
    mask = list(tail_mask(len(network.layers), 0.2))
    mask[-len(mask) // 10] = False
    rng = np.random.default_rng(0)
    x = rng.random((16, size, size, 3), np.float32)
    data = Labelled(x, rng.integers(0, 3, 16))
    trained = FrozenTrainer(network, FreezeLessons(data, data), CONFIG, 4).train(tuple(mask))
    assert trained.cached_bytes > 0
    ours = weights_of(model)
    network.restore()
    apply_mask(model, network.layers, tuple(mask))
    model.compile(keras.optimizers.SGD(CONFIG.learning_rate), "sparse_categorical_crossentropy")
    order_rng = np.random.default_rng([4, 0])
    for _ in range(CONFIG.epochs):
        order = draw_order(data.y, "none", order_rng)
        for chosen in (order[:8], order[8:]):
            model.train_on_batch(data.x[chosen], data.y[chosen])
    before = network.state
    changed = 0
    for weight, value in weights_of(model).items():
        np.testing.assert_allclose(ours[weight], value, rtol=1e-5, atol=1e-5, err_msg=weight)
    for start, variable in zip(before, model.variables, strict=True):
        changed += bool((start != np.asarray(variable.numpy())).any())
    assert changed >= sum(mask)
