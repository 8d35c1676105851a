"""Which channels of which layers stay for a given cost, in several ways."""

from collections.abc import Callable, Sequence

import numpy as np

from optimizer.prune.groups import ChannelGroups, Keep
from optimizer.prune.keep import Rules, Scope, keep_for_macs
from optimizer.prune.scores import Scores
from optimizer.recipe.rivals import Allocation

Loss = Callable[[Keep], float]


def choose_keep(
    groups: ChannelGroups,
    scores: Scores,
    limit_macs: float,
    rules: Rules,
    allocations: Sequence[Allocation],
    loss: Loss,
) -> tuple[Keep, Allocation]:
    """Return the channels that stay, and by which of the allocations.

    Args:
        groups: The model's.
        scores: Importances.
        limit_macs: Multiply-accumulates of one inference.
        rules: Multiple and smallest share; their scope is the allocation's.
        allocations: Ways to compare channels of different layers.
        loss: What decides between several of them; less is better.

    Raises:
        PruningError: If the cost cannot be reached.
    """
    found = [(allocate(groups, scores, limit_macs, rules, way), way) for way in allocations]
    return found[0] if len(found) == 1 else min(found, key=lambda pair: loss(pair[0]))


def allocate(
    groups: ChannelGroups, scores: Scores, limit_macs: float, rules: Rules, way: Allocation
) -> Keep:
    """Return the channels that stay under one allocation, as many as the cost allows.

    Raises:
        PruningError: If the cost cannot be reached.
    """
    scope: Scope = "global" if way == "cost" else way
    rules = Rules(scope, rules.multiple, rules.min_share, rules.diversity)
    judged = per_mac(groups, scores) if way == "cost" else scores
    keep = keep_for_macs(groups, judged, limit_macs, rules)
    return filled(groups, judged, keep, limit_macs, rules)


def per_mac(groups: ChannelGroups, scores: Scores) -> Scores:
    """Return importances divided by the multiply-accumulates that go with each channel alone.

    As for a knapsack: what is kept is worth most for its cost. Importances that are not comparable
    are divided by the mean of their group first, as `Scores.relative` does.
    """
    whole = groups.macs({})
    result = {}
    for name, row in scores.by_group.items():
        width = groups[name].width
        cost = (whole - groups.macs({name: range(width - 1)})) if width > 1 else whole
        scale = 1.0 if scores.is_comparable else max(float(row.mean()), np.finfo(float).tiny)
        result[name] = row / scale / max(cost, 1)
    return Scores(scores.criterion, result, True, scores.unscored)


def filled(
    groups: ChannelGroups, scores: Scores, keep: Keep, limit_macs: float, rules: Rules
) -> Keep:
    """Return the channels with others taken back in, a multiple at a time, while the cost allows.

    A threshold moves several groups at once where widths are rounded, and may stop well below the
    limit, which would favour the criterion that happens to end close to it.
    """
    relative = scores.relative(rules.scope)
    chosen = {name: tuple(channels) for name, channels in keep.items()}
    while True:
        before = groups.macs(chosen)
        best: tuple[float, str, tuple[int, ...]] | None = None
        for name, row in relative.items():
            wider = _wider(row, chosen[name], rules.multiple)
            cost = groups.macs({**chosen, name: wider}) - before
            if len(wider) > len(chosen[name]) and before + cost <= limit_macs:
                gain = sum(row[i] for i in wider) - sum(row[i] for i in chosen[name])
                worth = float(gain) / max(cost, 1)
                if best is None or worth > best[0]:
                    best = worth, name, wider
        if best is None:
            return chosen
        chosen[best[1]] = best[2]


def _wider(
    row: np.ndarray[tuple[int, ...], np.dtype[np.float64]], have: tuple[int, ...], multiple: int
) -> tuple[int, ...]:
    """Return the channels with the most important of the others, up to the next multiple."""
    taken = set(have)
    others = [i for i in np.argsort(-row, kind="stable").tolist() if i not in taken]
    count = (len(have) // multiple + 1) * multiple - len(have)
    return tuple(sorted([*have, *others[:count]]))
