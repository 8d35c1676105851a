"""What an individual is worth to a search, and what one outside the bounds."""

from collections.abc import Sequence

import numpy as np

from optimizer.recipe.search import Goal
from optimizer.search.individual import Individual
from optimizer.search.pareto import worth

LEAST_SCORE = 0.0  # of accuracy and macro-F1 alike: the paper's P_bound
ABANDONED = 2.0  # how far below the least of the others is what breaks a bound on memory


def fitness(
    individuals: Sequence[Individual], goals: tuple[Goal, ...] = ("accuracy",)
) -> list[float]:
    """Return the fitness of a generation: what is feasible, and below all of it what is not.

    With accuracy as the only goal a feasible network is worth its score; with several it is worth
    its place among the fronts of this generation. A network that only needs too much energy has
    P_min - (P_min - P_bound) / (E_max - E_limit) x (E - E_limit), with E its energy, E_max the
    largest of these and P_min the least worth of the feasible ones, both of this generation. Any
    other that breaks bounds is worth least of all.

    Args:
        individuals: All of one generation.
        goals: What the search aims at.

    Source: energy-aware NAS with partitioning, Sec. III-B3, energies as shares of their bounds.
    """
    is_single = len(goals) == 1
    valid = _scores(individuals) if is_single else _worths(individuals, goals)
    least = min((value for value in valid if value is not None), default=LEAST_SCORE)
    # Without room below the valid ones, or without any, the order must still be told.
    bound = LEAST_SCORE if is_single and least > LEAST_SCORE else least - 1
    over = [i.assessment.excess for i in individuals]
    most = max((excess for excess in over if excess is not None), default=1.0)
    values = []
    for value, excess in zip(valid, over, strict=True):
        if value is not None:
            values.append(value)
        elif excess is None:
            values.append(min(least, LEAST_SCORE) - ABANDONED)
        else:
            values.append(least - (least - bound) * excess / most)
    return values


def _scores(individuals: Sequence[Individual]) -> list[float | None]:
    return [i.steering for i in individuals]


def _worths(individuals: Sequence[Individual], goals: tuple[Goal, ...]) -> list[float | None]:
    aims = [i.aims(goals) for i in individuals]
    known = [values for values in aims if values is not None]
    worths = iter(worth(np.asarray(known, dtype=np.float64).reshape(-1, len(goals))))
    return [None if values is None else float(next(worths)) for values in aims]
