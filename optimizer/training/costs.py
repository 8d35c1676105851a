"""What training some layers and keeping some channels costs: the file `costs.json`.

Source of the tables' shape: ToSiM-IoT, tables I and II, figures 5 to 9.
"""

from collections.abc import Mapping

import msgspec


class TrainedShare(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A training of the last layers of a network."""

    share: float
    """Of the layers, counted from the output."""
    layers: int
    parameters: int
    """That the training changes."""
    epoch_s: float
    """Measured: median over the passes; the first of several, which fills the cache, left out."""
    training_s: float
    """Measured: all passes, and what it takes to begin."""
    flops: float
    """Operations of all passes, as predicted."""
    modelled_j: float
    """Of one epoch: P_load x `epoch_s`."""
    measured_j: Mapping[str, float]
    """Of all passes by meter; empty where the machine has none."""
    accuracy: float
    """On the validation split."""


class RetainedShare(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A network of which some channels are left."""

    share: float
    """Of the channels of every group that can be pruned."""
    channels: int
    onnx_bytes: int
    """Size of the ONNX file."""
    parameters: int
    macs: int
    """Of one image; floating-point operations are twice as many."""
    latency_s: float
    """Measured: median of one inference in onnxruntime, batch 1, one thread."""
    low_s: float
    """First quartile."""
    high_s: float
    """Third quartile."""
    accuracy: float
    """On the validation split, after a brief training; of the run's own model as it is."""


class CostsRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Rows by rising share; the run's own model is told apart from them."""

    power: str
    """What gives P_load."""
    power_w: float
    epochs: int
    """Passes of each training."""
    images: int
    """Images of each pass."""
    missing_meters: tuple[str, ...]
    """Why energy is not measured here by some meter."""
    trained: tuple[TrainedShare, ...] = ()
    retained: tuple[RetainedShare, ...] = ()
    own: RetainedShare | None = None
    """The run's own model; `share` of all channels together."""
