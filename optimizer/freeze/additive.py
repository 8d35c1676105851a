"""The additive fitness of Algorithm 1 and its exact optimum: a 0/1 knapsack with a soft limit.

Source: ToSiM-IoT (shared paper), eq. 8 and Algorithm 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from headtail.errors import ConfigError
from headtail.tensor import Array
from optimizer.freeze.mask import FreezeMask


@dataclass(frozen=True, slots=True)
class Additive:
    """Z(x) = alpha sum(v x) - beta max(sum(c x) - C, 0) over masks x."""

    values: tuple[float, ...]
    """v: what training each layer is worth."""
    costs: tuple[float, ...]
    """c: what training each layer costs, none below zero."""
    limit: float
    """C, in the unit of the costs."""
    alpha: float = 1.0
    beta: float = 1.0

    def __post_init__(self) -> None:
        if len(self.values) != len(self.costs):
            raise ConfigError(
                "freeze",
                f"expected as many values as costs, received {len(self.values)} and"
                f" {len(self.costs)}",
            )
        for name, least in (
            ("cost", min(self.costs, default=0.0)),
            ("alpha", self.alpha),
            ("beta", self.beta),
        ):
            if not least >= 0:
                raise ConfigError("freeze", f"expected {name} of at least 0, received {least:g}")

    def worth(self, mask: FreezeMask) -> float:
        """Return sum(v x)."""
        return sum(v for v, is_trained in zip(self.values, mask, strict=True) if is_trained)

    def cost(self, mask: FreezeMask) -> float:
        """Return sum(c x)."""
        return sum(c for c, is_trained in zip(self.costs, mask, strict=True) if is_trained)

    def fitness(self, mask: FreezeMask) -> float:
        """Return Z(x)."""
        return self.alpha * self.worth(mask) - self.beta * max(self.cost(mask) - self.limit, 0.0)


def best_mask(problem: Additive, always: Sequence[int] = ()) -> FreezeMask:
    """Return the mask of largest fitness, exactly; of equal ones one of least cost.

    A dynamic programme over the layers that keeps, of all choices so far, those that no other
    surpasses in both value and cost: the fitness grows with the one and falls with the other, so
    that the best complete choice comes of one that is kept. Costs may be any real numbers. Choices
    that cannot catch up with the best known, though the rest were divisible, are dropped.

    Args:
        problem: Values, costs and limit.
        always: Places of layers that are trained in any case.

    Source of the dominance: Nemhauser and Ullmann, Discrete dynamic programming and capital
    allocation, doi:10.1287/mnsc.15.9.494; of the bound: Dantzig, doi:10.1287/opre.5.2.266.
    """
    values, costs = np.asarray(problem.values, float), np.asarray(problem.costs, float)
    given = np.zeros(len(values), bool)
    given[list(always)] = True
    given |= (costs == 0) & (values > 0)
    open_ = np.flatnonzero(~given & (values > 0) & (costs > 0))
    order = open_[np.argsort(-values[open_] / costs[open_], kind="stable")]
    stages: list[tuple[Array, Array]] = []  # where each kept choice came from, and whether it took
    worth, cost = np.array([values[given].sum()]), np.array([costs[given].sum()])
    best = -np.inf
    for i, place in enumerate(order):
        worth, cost, origin, is_taken = _extend(worth, cost, values[place], costs[place])
        upper, lower = _bounds(problem, worth, cost, order[i + 1 :])
        best = max(best, float(lower.max()))
        kept = upper >= best - 1e-9 * (1 + abs(best))
        worth, cost = worth[kept], cost[kept]
        stages.append((origin[kept], is_taken[kept]))
    scores = problem.alpha * worth - problem.beta * np.maximum(cost - problem.limit, 0)
    state = int(np.argmax(scores))  # the first of equal ones costs least
    chosen = given.copy()
    for place, (origin, is_taken) in zip(order[::-1], reversed(stages), strict=True):
        chosen[place] = is_taken[state]
        state = int(origin[state])
    return tuple(bool(is_trained) for is_trained in chosen)


def _extend(
    worth: Array, cost: Array, value: float, price: float
) -> tuple[Array, Array, Array, Array]:
    """Return the choices with and without one more layer that none surpasses, by rising cost."""
    count = len(worth)
    worth, cost = np.concatenate([worth, worth + value]), np.concatenate([cost, cost + price])
    order = np.lexsort((-worth, cost))
    best_before = np.concatenate([[-np.inf], np.maximum.accumulate(worth[order])[:-1]])
    order = order[worth[order] > best_before]
    return worth[order], cost[order], order % count, order >= count


def _bounds(problem: Additive, worth: Array, cost: Array, rest: Array) -> tuple[Array, Array]:
    """Return what each choice can reach at most, and what it reaches by taking whole layers.

    The rest, by falling value per cost, is taken up to the limit, and beyond it as long as a
    layer's value outweighs the penalty.
    """
    values, costs = np.asarray(problem.values)[rest], np.asarray(problem.costs)[rest]
    gained = np.concatenate([[0.0], np.cumsum(values)])
    spent = np.concatenate([[0.0], np.cumsum(costs)])
    paying = np.count_nonzero(problem.alpha * values > problem.beta * costs)
    more = np.minimum(np.maximum(problem.limit - cost, spent[paying]), spent[-1])
    whole = np.searchsorted(spent, more, side="right") - 1

    def fitness(extra: Array, price: Array) -> Array:
        over = np.maximum(cost + price - problem.limit, 0)
        return problem.alpha * (worth + extra) - problem.beta * over

    upper = fitness(np.interp(more, spent, gained), more)
    return upper, fitness(gained[whole], spent[whole])
