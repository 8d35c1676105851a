"""What a finished run on images has to tell, for the terminal and the report."""

from dataclasses import dataclass

from optimizer.freeze.record import FreezingRecord
from optimizer.prune.record import PruneRecord
from optimizer.recipe.image import ImageRecipe
from optimizer.report.summary import Summary
from optimizer.training.costs import CostsRecord
from optimizer.training.stage import StageRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSummary(Summary):
    """Everything the report of a run on images shows."""

    recipe: ImageRecipe
    adapted: StageRecord
    """The first training."""
    freezing: FreezingRecord | None = None
    """Which layers were trained on; None where the recipe freezes none."""
    pruned: PruneRecord | None = None
    """What was dropped; None where the recipe prunes nothing."""
    costs: CostsRecord | None = None
    """What shares of layers and channels cost; None where the recipe does not ask."""
