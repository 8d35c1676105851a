"""What a pruning of a run came to: the file `pruned.json`."""

import msgspec

from optimizer.training.stage import StageRecord


class FrozenPart(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Channels of a layer that could not be dropped."""

    layer: str
    channels: int
    reason: str


class ThresholdTrial(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A threshold that was tried."""

    threshold: float
    macs: int
    accuracy: float
    """On the validation split, after the passes that a trial has."""
    profit: float
    is_valid: bool
    """Whether it keeps A_min and L."""


class PrunedStep(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One pruning with the training after it."""

    macs: int
    parameters: int
    channels: int
    """Left in the groups that can be pruned."""
    accuracy: float
    """On the validation split, after the training."""
    training: StageRecord


class PruneRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Steps, what they left, and why."""

    criterion: str
    macs: int
    """Of the model as it came."""
    parameters: int
    channels: int
    """In the groups that can be pruned."""
    steps: tuple[PrunedStep, ...]
    """Those that were taken, the last of which is the model."""
    model: str
    """File name of that model, in the run's folder."""
    is_complete: bool
    """False where A_min ended it before the planned cost."""
    importance: dict[str, tuple[float, ...]]
    """By pruning group of the model as it came, one number per channel."""
    keep: dict[str, tuple[int, ...]]
    """Channels of those groups that are left."""
    kept_layers: tuple[str, ...] = ()
    """Groups that keep all channels because the recipe says so."""
    frozen: tuple[FrozenPart, ...] = ()
    """What could not be pruned, and why."""
    trials: tuple[ThresholdTrial, ...] = ()
    """Thresholds that were tried, the best first."""

    @property
    def last(self) -> PrunedStep:
        """The step that made the model."""
        return self.steps[-1]
