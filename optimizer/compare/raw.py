"""The two trivial rows: send the window itself, or some of its samples, as int8.

The network runs in the fog. Where a window is up-sampled for the network, as in the energy-aware
NAS paper, these rows send what was there before.
"""

import math
from dataclasses import dataclass

import numpy as np

from headtail.bundle.manifest import Step
from headtail.errors import DataError, HeadtailError
from headtail.operations import Operations
from headtail.preprocess.pipeline import Pipeline
from headtail.tensor import Array, TensorSpec
from headtail.wire import Affine, Encoding, calibrate, decode, encode
from optimizer.candidate import Candidate
from optimizer.compare.compare import ComparatorRow
from optimizer.compare.contest import Contest
from optimizer.data.dataset import Dataset
from optimizer.inputs import Inputs
from optimizer.labelled import Labelled
from optimizer.recipe.recipe import NetworkConfig, Recipe

SHAPING = {"pad", "reshape"}
"""Window steps that add no information: the fog can do them."""


@dataclass(frozen=True, slots=True)
class Native:
    """Windows of the three splits as they are before they are brought to a network's input."""

    splits: dict[str, Labelled]
    """By name; float32, shape (N, length, channels)."""

    @property
    def shape(self) -> tuple[int, int]:
        """Length and channels of a window."""
        _, length, channels = self.splits["train"].x.shape
        return length, channels

    def every(self, stride: int) -> "Native":
        """Return the windows with the first of every `stride` samples."""
        return Native({n: Labelled(s.x[:, ::stride], s.y) for n, s in self.splits.items()})

    def through_int8(self) -> "Native":
        """Return the windows as they arrive: one affine for all, from the training windows."""
        affine = calibrate(self.splits["train"].x)
        return Native({n: Labelled(_through(s.x, affine), s.y) for n, s in self.splits.items()})

    def padded(self, length: int) -> Inputs:
        """Return them with zeros appended up to `length`, for a network."""
        missing = ((0, 0), (0, length - self.shape[0]), (0, 0))
        return Inputs(**{n: Labelled(np.pad(s.x, missing), s.y) for n, s in self.splits.items()})


def native_windows(dataset: Dataset, recipe: Recipe) -> Native:
    """Return the data set's windows after those of the recipe's window steps that measure.

    Padding and reshaping are left out, and so is an interpolation that adds samples.

    Raises:
        DataError: If what they give has not one or two axes.
    """
    pipeline = Pipeline(native_steps(dataset, recipe))

    def build(windows: Array) -> Array:
        x = np.stack([pipeline.window(window) for window in windows])
        return x[..., np.newaxis] if x.ndim == 2 else x

    try:
        splits = {n: Labelled(build(s.x), s.y) for n, s in dataset.splits.items()}
    except HeadtailError as error:
        raise DataError(f"data '{dataset.name}', windows as they are", str(error)) from error
    shape = splits["train"].x.shape[1:]
    if len(shape) != 2:
        raise DataError(
            f"data '{dataset.name}', windows as they are",
            f"[compare] expected windows of one or two axes, received shape {shape}",
        )
    return Native(splits)


def native_steps(dataset: Dataset, recipe: Recipe) -> tuple[Step, ...]:
    """Return the recipe's window steps without those that only shape or stretch a window."""
    kept: list[Step] = []
    for step in recipe.preprocess:
        length = len(Pipeline(kept).window(dataset.train.x[0]))
        stretches = step.name == "interpolate" and int(step.parameters["length"]) >= length
        if step.name not in SHAPING and not stretches:
            kept.append(step)
    return tuple(kept)


def fog_network(length: int, channels: int) -> NetworkConfig:
    """Return a network of the family for windows of any length: four overlapping convolutions.

    The first one has a stride of 4, or for fewer than 64 samples of 1 and five taps; the others
    halve. Best on the validation split, of those under 2,000 parameters that were tried on MIT-BIH
    windows of 187 samples and on every fourth of them.
    """
    first, stretch = (4, 3) if length >= 64 else (1, 5)
    whole = 8 * first * math.ceil(length / (8 * first))
    lengths = (whole, *(whole // first // n for n in (1, 2, 4, 8)))
    return NetworkConfig(lengths, (channels, 8, 8, 10, 10), (1, stretch, 3, 3, 3))


def raw_row(contest: Contest, native: Native) -> ComparatorRow:
    """Return the row of sending the whole window as int8; the edge computes nothing."""
    network = contest.config.raw_network or fog_network(*native.shape)
    return _row(contest, "window sent as int8", native, network, Operations())


def every_row(contest: Contest, native: Native) -> ComparatorRow:
    """Return the row of sending the first of every few samples as int8.

    Copying a value is charged as one MAC of a convolution.
    """
    stride = contest.config.every
    kept = native.every(stride)
    network = contest.config.every_network or fog_network(*kept.shape)
    copies = math.prod(kept.shape)
    head = Operations(conv_macs=copies, conv_macz=copies)
    return _row(contest, f"one sample in {stride} sent as int8", kept, network, head)


def _row(
    contest: Contest, name: str, native: Native, network: NetworkConfig, head: Operations
) -> ComparatorRow:
    inputs = _fit(native.through_int8(), network)
    genome = network.genome(contest.classes)
    tail = genome.footprints()[-1].operations
    sent_bytes = math.prod(native.shape)
    price = contest.price(head, head + tail, sent_bytes)
    note = (
        f"{sent_bytes} bytes; in the fog lengths {list(network.lengths)}, channels"
        f" {list(network.channels)}, kernels {list(genome.kernels)}"
    )
    broken = contest.breaches(
        edge_j=price.edge_j, total_j=price.total_j, parameters=tail.parameters
    )
    row = ComparatorRow(
        name,
        "calculated",
        edge_j=price.edge_j,
        total_j=price.total_j,
        parameters=tail.parameters,
        edge_parameters=0,
        point=0,
        encoding=Encoding.INT8.value,
        note="; ".join(filter(None, (note, broken))),
        macs=tail.macs,
    )
    # The windows went over the wire already: nothing else changes them.
    candidate = Candidate(genome, 0, 0, Encoding.FLOAT32)
    return contest.tested(row, lambda seed: contest.retrain(candidate, inputs, seed)[1])


def _fit(native: Native, network: NetworkConfig) -> Inputs:
    length, channels = native.shape
    if network.lengths[0] < length or network.channels[0] != channels:
        raise DataError(
            "[compare]",
            f"the network in the fog takes {network.lengths[0]} x {network.channels[0]} values,"
            f" expected {channels} channels of at least {length} samples",
        )
    return native.padded(network.lengths[0])


def _through(x: Array, affine: Affine) -> Array:
    spec = TensorSpec("window", "float32", (-1, *x.shape[1:]))
    return decode(encode(x, Encoding.INT8, affine), spec, affine)
