"""What is worth more to a search than what."""

import pytest

from optimizer.search.fitness import fitness
from optimizer.search.individual import Assessment, Individual


def individual(excess: float | None, score: float | None) -> Individual:
    """Return a network with nothing but what a fitness looks at."""
    assessment = Assessment(score is not None, 1.0, excess=excess)
    return Individual((8,), (1,), assessment, score, score)


def test_adjusted_fitness_is_the_papers() -> None:
    """P_min 0.6, P_bound 0, E_limit 1, E of 2 and 5: linear from P_min at the limit to P_bound."""
    mixed = [individual(*p) for p in ((None, 0.9), (None, 0.6), (1.0, None), (4.0, None))]
    mixed.append(individual(None, None))
    values = fitness(mixed)
    assert [0.9, 0.6, pytest.approx(0.45), pytest.approx(0.0)] == values[:4]
    assert values[4] < -1


def test_order_of_energies_is_told_also_without_a_valid_network() -> None:
    """Else the first generations would have no direction."""
    over = [individual(excess, None) for excess in (1.0, 4.0, 2.0, None)]
    values = fitness(over)
    assert [0, 2, 1, 3] == [sorted(values, reverse=True).index(v) for v in values]


def test_fitness_of_several_goals_puts_every_feasible_network_first() -> None:
    """Then the excess decides, then nothing."""
    mixed = [individual(None, s) for s in (0.9, 0.5, 0.1)]
    mixed += [individual(e, None) for e in (0.1, 3.0, None)]
    values = fitness(mixed, ("accuracy", "edge_energy"))
    assert sorted(values, reverse=True) == values
    assert len(set(values)) == len(values)
