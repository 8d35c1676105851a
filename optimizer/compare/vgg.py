"""A one-dimensional VGG11 as the reference from outside the family: layers, price, training.

Eight convolutions of kernel 3, each block followed by max pooling over 2, then three dense layers.
Source: Simonyan & Zisserman, arXiv:1409.1556, configuration A, with one axis for two; no dropout.
"""

from collections.abc import Iterator
from functools import reduce
from operator import add

import keras
import msgspec
import numpy as np

from headtail.errors import ConfigError
from headtail.operations import Operations
from headtail.tensor import Array
from headtail.wire import Encoding
from optimizer.compare.compare import ComparatorRow
from optimizer.compare.contest import Contest
from optimizer.compare.raw import Native
from optimizer.inputs import Inputs
from optimizer.progress import Advance
from optimizer.recipe.recipe import TrainConfig
from optimizer.scores import score
from optimizer.training.keras_engine import KerasEngine, make_deterministic
from optimizer.training.training import Epoch, Lessons, run_training

BLOCKS = ((1,), (2,), (4, 4), (8, 8), (8, 8))
"""Channels of each block's convolutions, in widths."""
DENSE = 64
"""Outputs of each hidden dense layer, in widths."""
SHRINKS = 2 ** len(BLOCKS)
BYTES = 4
FACTORS = (10, 2, 1)  # the paper's fog factors, table III


def build_vgg(length: int, channels: int, classes: int, width: int, seed: int) -> keras.Model:
    """Build the network: input (length, channels), output class probabilities.

    Args:
        length: Samples of a window, a multiple of 32.
        channels: Channels of a window.
        classes: Outputs.
        width: Channels of the first convolution; VGG11 has 64.
        seed: Draws the weights, He uniform with zero bias.
    """
    seeds = iter(np.random.SeedSequence(seed).generate_state(16))

    def drawn() -> keras.initializers.Initializer:
        return keras.initializers.HeUniform(seed=int(next(seeds)))

    x = keras.Input((length, channels), name="x")
    h = x
    for block in BLOCKS:
        for widths in block:
            h = keras.layers.Conv1D(
                widths * width, 3, padding="same", activation="relu", kernel_initializer=drawn()
            )(h)
        h = keras.layers.MaxPooling1D(2)(h)
    h = keras.layers.Flatten()(h)
    for _ in range(2):
        h = keras.layers.Dense(DENSE * width, activation="relu", kernel_initializer=drawn())(h)
    h = keras.layers.Dense(classes, kernel_initializer=drawn())(h)
    return keras.Model(x, keras.layers.Softmax(name="y")(h))


def vgg_operations(length: int, channels: int, classes: int, width: int) -> Operations:
    """Return what one window costs: multiply-accumulates, and parameters with biases."""
    return reduce(add, _layers(length, channels, classes, width))


def _layers(length: int, channels: int, classes: int, width: int) -> Iterator[Operations]:
    for block in BLOCKS:
        for widths in block:
            weights = 3 * channels * widths * width
            channels = widths * width
            macs = length * weights
            yield Operations(conv_macs=macs, conv_macz=macs, conv_parameters=weights + channels)
        length //= 2
    entering = length * channels
    for leaving in (DENSE * width, DENSE * width, classes):
        macs = entering * leaving
        yield Operations(dense_macs=macs, dense_parameters=macs + leaving)
        entering = leaving


def vgg_rows(
    contest: Contest, native: Native, advance: Advance
) -> tuple[ComparatorRow, ComparatorRow]:
    """Return the rows of the network on the edge, and in the fog with the window sent as float32.

    It is trained once for each seed, with epochs and a rate of its own. A training that leaves the
    finite numbers gives rows without accuracy.
    """
    config, (length, channels) = contest.config, native.shape
    padded = SHRINKS * -(-length // SHRINKS)
    sizes = padded, channels, contest.classes, config.vgg_width
    whole = vgg_operations(*sizes)
    train_config = msgspec.structs.replace(
        contest.recipe.train,
        epochs=config.vgg_epochs,
        learning_rate=config.vgg_learning_rate,
        teacher=None,
    )
    inputs = native.padded(padded)
    on_edge, failure = _priced(contest, whole), ""
    try:
        on_edge = contest.tested(
            on_edge, lambda seed: _train(inputs, train_config, sizes, seed, advance)
        )
    except ConfigError as error:
        failure = str(error)
    fog = _in_fog(contest, on_edge, whole, BYTES * length * channels)
    rows = [
        msgspec.structs.replace(row, note="; ".join(filter(None, (row.note, failure))))
        for row in (on_edge, fog)
    ]
    return rows[0], rows[1]


def _priced(contest: Contest, whole: Operations) -> ComparatorRow:
    price = contest.price(whole, whole, BYTES * contest.classes)
    return ComparatorRow(
        f"1-D VGG11 of width {contest.config.vgg_width}, on the edge",
        "calculated",
        edge_j=price.edge_j,
        total_j=price.total_j,
        parameters=whole.parameters,
        edge_parameters=whole.parameters,
        point=sum(len(block) for block in BLOCKS) + 3,
        encoding=Encoding.FLOAT32.value,
        note=contest.breaches(
            edge_j=price.edge_j,
            total_j=price.total_j,
            parameters=whole.parameters,
            flash_bytes=BYTES * whole.parameters,
        ),
        macs=whole.macs,
    )


def _in_fog(
    contest: Contest, on_edge: ComparatorRow, whole: Operations, window_bytes: int
) -> ComparatorRow:
    """Return the row of the same training with the network in the fog."""
    price = contest.price(Operations(), whole, window_bytes)
    computed_j = contest.price(whole, whole, 0).edge_j
    totals = [f"{(price.edge_j + computed_j / n) * 1e3:.4g} mJ at {n}" for n in FACTORS]
    note = f"total by fog factor: {', '.join(totals)}; trained as the row above"
    return msgspec.structs.replace(
        on_edge,
        name=on_edge.name.replace("on the edge", "in the fog"),
        edge_j=price.edge_j,
        total_j=price.total_j,
        edge_parameters=0,
        point=0,
        trainings=0,
        seconds=0.0,
        note=note,
    )


def _train(
    inputs: Inputs,
    config: TrainConfig,
    sizes: tuple[int, int, int, int],
    seed: int,
    advance: Advance,
) -> Array:
    """Return the confusion matrix of the test split after a training."""

    def on_epoch(epoch: Epoch) -> None:
        note = f"validation accuracy {epoch.validation_accuracy:.3f}"
        advance(epoch.epoch, config.epochs, note)

    make_deterministic(seed)
    engine = KerasEngine(build_vgg(*sizes, seed), is_fused=False)
    lessons = Lessons(inputs.train, inputs.validation)
    run_training(engine, lessons, config, np.random.default_rng(seed), on_epoch)
    given = engine.logits(inputs.test.x).argmax(axis=1)
    keras.backend.clear_session()
    return score(inputs.test.y, given, sizes[2]).confusion
