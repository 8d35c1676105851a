"""What a finished run has to tell, for the terminal and the report."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from optimizer.compare.compare import ComparisonRecord
from optimizer.field.outcome import FieldOutcome
from optimizer.package.cuts import CutCost
from optimizer.package.package import Packed
from optimizer.partition import Choice, Row
from optimizer.recipe.recipe import Recipe
from optimizer.search.record import SearchRecord
from optimizer.training.record import TrainingRecord
from optimizer.training.repeats import StatisticsRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What the report of any run tells; holds no arrays but confusion matrices."""

    data: dict[str, Any]
    """The data set's lineage: name, protocol, fingerprint, counts per split and class."""
    labels: tuple[str, ...]
    is_synthetic: bool
    training: TrainingRecord
    rows: tuple[Row, ...]
    """Every point with every encoding, priced and held against the bounds."""
    choice: Choice
    packed: Packed
    bundle: str
    """File name of the bundle."""
    parameters: int
    verified_windows: int
    verified_error: float
    """Largest error of the chain of segments against Keras, relative to the largest output."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Time that each stage took, in the order of the stages."""
    cut_costs: tuple[CutCost, ...] = ()
    """What head and tail at each point take here, against the whole model."""

    @property
    def chosen(self) -> Row:
        """The row of the chosen point and encoding."""
        return next(
            r
            for r in self.rows
            if (r.point, r.encoding) == (self.choice.point, self.choice.encoding)
        )

    def accuracy(self, row: Row) -> float | None:
        """Return the validation accuracy with a row's encoding on the wire, from the manifest."""
        wire = self.packed.manifest.points[row.point].wire(row.encoding)
        return None if wire is None else wire.accuracy

    def wire_bytes(self, row: Row) -> int:
        """Return the payload bytes of one window for a row."""
        wire = self.packed.manifest.points[row.point].wire(row.encoding)
        assert wire is not None, "rows come from the manifest's points"
        return wire.bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary(Summary):
    """Everything the report of a run on signals shows."""

    recipe: Recipe
    found: SearchRecord | None = None
    """How the network was found; None where the recipe's own was trained."""
    statistics: StatisticsRecord | None = None
    """How the network does with other seeds and on other splits; None where nothing was asked."""
    comparison: ComparisonRecord | None = None
    """What it is held against; None where nothing was asked for."""
    field: FieldOutcome | None = None
    """What was learned from agents at work; None where nothing was asked for."""
