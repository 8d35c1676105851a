"""The threshold as a variable: searched for what gains most, within the limits."""

from collections.abc import Callable
from dataclasses import dataclass

from headtail.errors import PruningError
from optimizer.prune.groups import ChannelGroups, Keep
from optimizer.prune.keep import Rules, keep_above, keep_for_macs
from optimizer.prune.scores import Scores

Evaluate = Callable[[Keep], float]


@dataclass(frozen=True, slots=True)
class Goal:
    """What a threshold is judged by."""

    accuracy_weight: float = 1.0
    """w of ToSiM-IoT, eq. 9."""
    cost_weight: float = 0.0
    """lambda of eq. 9; the cost is relative to the original's."""
    min_accuracy: float = 0.0
    """A_min of eq. 13, 0 to 1."""
    limit_macs: float = float("inf")
    """L of eq. 12."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One threshold that was tried."""

    threshold: float
    """T, on the scale of `Scores.relative`: the least important channel that stays is above."""
    macs: int
    accuracy: float
    profit: float
    """P of ToSiM-IoT, eq. 9."""
    is_valid: bool
    """Whether it keeps A_min and L."""
    keep: Keep


def search_threshold(
    groups: ChannelGroups,
    scores: Scores,
    evaluate: Evaluate,
    goal: Goal,
    rules: Rules | None = None,
    trials: int = 9,
) -> tuple[Trial, ...]:
    """Return the thresholds that were tried, the best first.

    Half of the trials are spread evenly over the cost between the smallest possible model and the
    limit; the others halve the gaps beside the best so far. Thresholds are not spread evenly
    themselves, as most of their range often changes nothing.

    Args:
        groups: The model's.
        scores: Importances.
        evaluate: Accuracy with these channels, 0 to 1; it may train before it looks.
        goal: What to maximise, and the limits.
        rules: As in `keep_above`.
        trials: How many thresholds to try, at least 3.

    Raises:
        PruningError: If none of them keeps the limits.
    """
    rules = rules or Rules()
    whole = groups.macs({})
    least = groups.macs(keep_above(groups, scores, 1.0, rules)) / whole
    most = min(1.0, goal.limit_macs / whole)
    if trials < 3 or least > most:
        raise PruningError(
            "threshold",
            f"expected 3 trials or more and a limit above {least * whole:.0f} MACs, received"
            f" {trials} and {goal.limit_macs:g}",
        )
    done: dict[float, Trial] = {}

    def run(share: float) -> None:
        if share not in done:
            keep = keep_for_macs(groups, scores, max(share, least) * whole, rules)
            done[share] = _trial(groups, scores, keep, evaluate(keep), goal, rules)

    first = max(3, (trials + 1) // 2)
    for i in range(first):
        run(least + (most - least) * i / (first - 1))
    while len(done) < trials:
        shares = sorted(done)
        best = shares.index(max(shares, key=lambda s: _rank(done[s])))
        gaps = [(shares[i], shares[i + 1]) for i in (best - 1, best) if 0 <= i < len(shares) - 1]
        low, high = max(gaps, key=lambda gap: gap[1] - gap[0])
        run((low + high) / 2)
    ordered = tuple(sorted(done.values(), key=_rank, reverse=True))
    if not ordered[0].is_valid:
        top = max(t.accuracy for t in ordered)
        raise PruningError(
            "A_min", f"expected {goal.min_accuracy:g}, the best of {trials} thresholds has {top:g}"
        )
    return ordered


def _rank(trial: Trial) -> tuple[bool, float]:
    return trial.is_valid, trial.profit if trial.is_valid else trial.accuracy


def _trial(
    groups: ChannelGroups,
    scores: Scores,
    keep: Keep,
    accuracy: float,
    goal: Goal,
    rules: Rules,
) -> Trial:
    macs = groups.macs(keep)
    relative = scores.relative(rules.scope)
    dropped = [
        float(row[i])
        for name, row in relative.items()
        for i in set(range(len(row))) - {*keep[name]}
    ]
    profit = goal.accuracy_weight * accuracy - goal.cost_weight * macs / groups.macs({})
    is_valid = accuracy >= goal.min_accuracy and macs <= goal.limit_macs
    return Trial(max(dropped, default=0.0), macs, accuracy, profit, is_valid, keep)
