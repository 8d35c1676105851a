"""Which channels stay: by a threshold, within limits of cost and diversity."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from headtail.errors import PruningError
from optimizer.prune.diversity import Diversity
from optimizer.prune.groups import ChannelGroups, Keep
from optimizer.prune.scores import FloatArray, Scores

Scope = Literal["global", "layer", "uniform"]


@dataclass(frozen=True, slots=True)
class Rules:
    """How scores become channels to keep."""

    scope: Scope = "global"
    """What one threshold is held against; see `Scores.relative`."""
    multiple: int = 1
    """Widths are rounded up to a multiple of this (8 suits most hardware), at most the original."""
    min_share: float = 0.0
    """Smallest share of its channels that a group keeps, 0 to 1; one channel always stays."""
    diversity: Diversity | None = None
    """What the kept channels of every group must still span; None: no such bound."""
    widths: Mapping[str, int] = field(default_factory=dict)
    """By group, the channels that `min_share` is a share of; by default those it has."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.scope not in ("global", "layer", "uniform"):
            raise PruningError(
                "scope", f"expected global, layer or uniform, received '{self.scope}'"
            )
        if self.multiple < 1 or not 0 <= self.min_share <= 1:
            raise PruningError(
                "pruning rules",
                "expected a multiple of at least 1 and a share between 0 and 1, received"
                f" {self.multiple} and {self.min_share}",
            )


def keep_above(
    groups: ChannelGroups, scores: Scores, threshold: float, rules: Rules | None = None
) -> Keep:
    """Return the channels whose relative importance is above a threshold, and what rules add.

    Rounding and the smallest share take the most important of the others back in; diversity takes
    the most different ones.

    Args:
        groups: The model's.
        scores: Importances; groups without stay whole.
        threshold: T of ToSiM-IoT, eq. 11: 0 keeps all that matters at all, 1 nearly nothing.
        rules: Defaults to a global threshold alone.
    """
    rules = rules or Rules()
    relative = scores.relative(rules.scope)
    return {
        name: _kept(groups, name, row, int((row > threshold).sum()), rules)
        for name, row in relative.items()
    }


def keep_for_macs(
    groups: ChannelGroups, scores: Scores, limit_macs: float, rules: Rules | None = None
) -> Keep:
    """Return the channels above the lowest threshold at which the model costs no more than a limit.

    The cost is exactly that of the pruned model (`ChannelGroups.macs`): L of ToSiM-IoT, eq. 12,
    with shared costs of channels counted as they are.

    Args:
        groups: The model's.
        scores: Importances.
        limit_macs: Multiply-accumulates of one inference.
        rules: As in `keep_above`.

    Raises:
        PruningError: If even the smallest model that the rules allow costs more.
    """
    relative = scores.relative((rules or Rules()).scope)
    # Between two neighbours nothing changes; -1 keeps all.
    steps = np.unique(np.concatenate([[-1.0], *relative.values()]))
    low, high = 0, len(steps) - 1
    best = keep_above(groups, scores, float(steps[high]), rules)
    least = groups.macs(best)
    if least > limit_macs:
        raise PruningError(
            "pruning",
            f"expected at most {limit_macs:.0f} MACs, the fewest possible are {least}"
            f" of {groups.macs({})} (frozen channels and rules keep the rest)",
        )
    while low < high:
        middle = (low + high) // 2
        keep = keep_above(groups, scores, float(steps[middle]), rules)
        if groups.macs(keep) <= limit_macs:
            best, high = keep, middle
        else:
            low = middle + 1
    return best


def rounded(
    groups: ChannelGroups, keep: Keep, multiple: int = 8, scores: Scores | None = None
) -> Keep:
    """Return keep-sets whose sizes are multiples, by taking channels back in.

    The most important of the dropped come first, without scores the first ones. A group that is
    not wide enough stays whole.
    """
    result: dict[str, Sequence[int]] = {}
    for name, channels in keep.items():
        width = groups[name].width
        row = scores.by_group.get(name) if scores else None
        order = np.argsort(-row, kind="stable") if row is not None else np.arange(width)
        count = min(-(-len(channels) // multiple) * multiple, width)
        result[name] = _filled(channels, order, count)
    return result


def _kept(
    groups: ChannelGroups, name: str, row: FloatArray, count: int, rules: Rules
) -> tuple[int, ...]:
    width = len(row)
    order = np.argsort(-row, kind="stable")
    least = int(np.ceil(rules.min_share * rules.widths.get(name, width)))
    count = max(count, min(least, width), 1)
    chosen = order[:count].tolist()
    if rules.diversity is not None:
        chosen = rules.diversity.completed(groups[name], chosen)
    count = min(-(-len(chosen) // rules.multiple) * rules.multiple, width)
    return _filled(chosen, order, count)


def _filled(chosen: Sequence[int], order: NDArray[np.intp], count: int) -> tuple[int, ...]:
    """Return the chosen channels and the first others in an order, `count` in all, sorted."""
    taken = {int(i) for i in chosen}
    others = [i for i in order.tolist() if i not in taken]
    return tuple(sorted([*taken, *others[: count - len(taken)]]))
