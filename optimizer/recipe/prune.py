"""What a recipe says of pruning: how channels are judged, how many go, what must stay true."""

from typing import Annotated, Literal

import msgspec

from optimizer.images.config import ImageTrainConfig
from optimizer.recipe_section import Amount, Natural, Positive, Ratio, Section

LEAST_TRIALS = 3


class PruneConfig(Section, frozen=True):
    """Section [prune]: drop channels that matter little, by Algorithm 2 of ToSiM-IoT, and train.

    How far is said by `macs_share` alone, by a given `threshold`, or searched with `trials`.
    """

    importance: Literal["gradcam", "taylor", "l1", "l2", "gamma", "random"] = "gradcam"
    """How channels are judged: by the integral of their Grad-CAM heatmaps, by Taylor's estimate of
    the loss, by norms of their kernels, by the scale of their batch normalisation, or not at
    all."""
    heatmap: Literal["positive", "absolute"] = "positive"
    """Whether what speaks against the class counts as well (absolute)."""
    images: Positive = 256
    """Most training images on which channels are judged, the classes in turn."""
    macs_share: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.5
    """L: the most multiply-accumulates of the pruned model, as a share of the whole one's."""
    threshold: Ratio | None = None
    """T: channels whose importance, relative to the largest, is above it stay; without it the
    lowest threshold is taken that keeps L."""
    trials: Natural = 0
    """Thresholds to try, at least 3, of which the one that gains most within L and A_min is taken;
    0 tries none."""
    trial_epochs: Natural = 0
    """Passes of training ahead of the look at each trial; the rest is as [prune.fine_tune] says."""
    accuracy_weight: Amount = 1.0
    """Weight of a trial's validation accuracy."""
    cost_weight: Amount = 0.0
    """Weight of its cost, as a share of the whole model's."""
    steps: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 1
    """Prunings, each with a training after it; each takes the same share of what is left."""
    min_accuracy: Ratio = 0.0
    """A_min: least validation accuracy after a step; the last step that has it is kept."""
    min_diversity: Ratio = 0.0
    """D_min: least diversity of the kept channels of a group, relative to that of all of them."""
    scope: Literal["global", "layer", "uniform"] = "global"
    """What one threshold is held against: importances of all layers, of each layer by itself, or
    their ranks, which takes the same share of every layer."""
    multiple: Annotated[int, msgspec.Meta(ge=1, le=1024)] = 1
    """Numbers of channels are rounded up to a multiple of this."""
    min_share: Ratio = 0.0
    """Least share of its channels that each group keeps; one always stays."""
    keep_layers: tuple[str, ...] = ()
    """Layers that keep all their channels, and so do those that are tied to them."""
    trains: Literal["all", "mask"] = "all"
    """Layers that the trainings after pruning change: all, or those that [freeze] chose."""
    fine_tune: ImageTrainConfig = ImageTrainConfig()
    """Section [prune.fine_tune]: the training after each step, on Dataset B."""

    def __post_init__(self) -> None:
        if 0 < self.trials < LEAST_TRIALS:
            raise ValueError(f"trials must be 0 or at least {LEAST_TRIALS}")
        if self.trials and self.threshold is not None:
            raise ValueError("threshold is given: leave out trials, which search for one")
