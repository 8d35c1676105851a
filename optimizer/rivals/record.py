"""What a comparison leaves on disk: a cell for each seed and method, then the table."""

from typing import Literal

import msgspec

Row = Literal["unpruned", "trained_on"]


class Cell(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One method at one seed, before anybody looked at the test images."""

    method: str
    seed: int
    macs: int
    """Multiply-accumulates of one inference."""
    parameters: int
    onnx_bytes: int
    """Size of the ONNX file."""
    validation_before: float | None
    """Accuracy on the validation images ahead of the last training, 0 to 1; None where there is no
    such model."""
    validation: float
    """Accuracy on the validation images in the end."""
    training_s: float
    """CPU seconds of training steps."""
    choosing_s: float
    """CPU seconds of choosing channels, layers or ranges."""
    epochs: int
    note: str
    """What was chosen."""


class Tested(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One cell on the test images, which are looked at once."""

    method: str
    seed: int
    before: float | None
    """Accuracy ahead of the last training, 0 to 1."""
    accuracy: float
    """Accuracy in the end, 0 to 1."""


class TestedRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file `tested.json`."""

    cells: tuple[Tested, ...]


class Timed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One cell's model in onnxruntime on this machine."""

    method: str
    seed: int
    latency_s: float
    """Median CPU time of one inference, one thread, batch 1."""
    ratio: float
    """Of the unpruned network's, all models of a seed taking turns."""


class TimedRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file `timed.json`."""

    cells: tuple[Timed, ...]


class Statistic(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A figure over the seeds."""

    mean: float
    std: float | None
    """Of the sample; None where there is one seed."""


class RivalRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One row of the table, over all seeds."""

    method: str
    name: str
    split: Literal["test", "validation"]
    """Images that the accuracies are of."""
    before: Statistic | None
    """Accuracy ahead of the last training, 0 to 1."""
    accuracy: Statistic
    """Accuracy in the end, 0 to 1."""
    loss: Statistic
    """Accuracy of the unpruned network at the same seed, less this one's; 0.01 is a point."""
    loss_trained_on: Statistic | None
    """The same against the unpruned network that was trained on with the same budget."""
    macs: Statistic
    parameters: Statistic
    onnx_bytes: Statistic
    latency_ratio: Statistic
    """Of the unpruned network's."""
    training_s: Statistic
    choosing_s: Statistic
    energy_j: Statistic
    """Modelled: power under load times the two above."""
    notes: tuple[str, ...]
    """What was chosen, by seed."""


class RivalsRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file `rivals.json`."""

    name: str
    data: str
    seeds: tuple[int, ...]
    images: int
    """That the accuracies are of."""
    macs_share: float
    epochs: int
    """Budget of each method."""
    power_w: float
    power_source: str
    rows: tuple[RivalRow, ...]
    """In the order of the recipe, the unpruned networks first."""
