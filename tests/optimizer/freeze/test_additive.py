"""The knapsack of Algorithm 1: exact against enumeration, and the genetic algorithm against it."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headtail.errors import ConfigError
from optimizer.freeze.additive import Additive, best_mask
from optimizer.freeze.config import FreezeConfig
from optimizer.freeze.individual import FreezeIndividual
from optimizer.freeze.mask import mask_text
from optimizer.freeze.selection import Problem, Selected, scalar_fitness, select_masks
from optimizer.search.chromosomes import Space
from optimizer.search.evolution import Settings, evolve


class Nobody:
    """A watcher that does not listen."""

    def individual(self, generation, individual) -> None:
        """Hear of a mask."""

    def advance(self, done, generation) -> None:
        """Hear how far it is."""

    def generation(self, record) -> None:
        """Hear of a generation."""


def drawn(layers: int, seed: int) -> Additive:
    """Return a problem whose limit is 40 % of what all layers cost, and bites."""
    rng = np.random.default_rng(seed)
    costs, values = rng.exponential(1, layers), rng.random(layers)
    return Additive(
        tuple(values / values.sum()), tuple(costs / costs.sum()), limit=0.4, alpha=1.0, beta=5.0
    )


def evolved(problem: Additive, config: FreezeConfig, seed: int) -> Selected:
    """Return what the genetic algorithm finds."""

    def judge(masks):
        for mask in masks:
            yield FreezeIndividual(
                mask_text(mask), problem.worth(mask), problem.cost(mask), 0.0, 0.0
            )

    return select_masks(Problem(config, len(problem.values), judge), seed, Nobody())


def test_fitness_by_hand() -> None:
    """2 (3 + 4) - 0.5 (2 + 6 - 5)."""
    problem = Additive((3.0, 9.0, 4.0), (2.0, 1.0, 6.0), limit=5.0, alpha=2.0, beta=0.5)
    assert 14 - 1.5 == problem.fitness((True, False, True))
    assert 0 == problem.fitness((False, False, False))
    assert 18 == problem.fitness((False, True, False))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 16))
def test_dynamic_programme_is_exact(seed: int, layers: int) -> None:
    """On every mask of up to sixteen layers: negative values and layers without cost among them."""
    rng = np.random.default_rng(seed)
    values = rng.normal(0.5, 1, layers)
    costs = rng.exponential(1, layers) * (rng.random(layers) > 0.1)
    alpha, beta = rng.random(), 3 * rng.random()
    problem = Additive(tuple(values), tuple(costs), rng.random() * costs.sum(), alpha, beta)
    always = [int(rng.integers(layers))] if rng.random() < 0.3 else []
    masks = ((np.arange(1 << layers)[:, None] >> np.arange(layers)) & 1).astype(bool)
    masks = masks[masks[:, always].all(axis=1)]
    over = np.maximum(masks @ costs - problem.limit, 0)
    exact = (alpha * (masks @ values) - beta * over).max()
    best = best_mask(problem, always)
    assert all(best[place] for place in always)
    assert pytest.approx(exact, abs=1e-9) == problem.fitness(best)


def test_dynamic_programme_of_whole_numbers_that_tie() -> None:
    """Of equally fit masks one of least cost; a classical instance with optimum 90 at 50."""
    problem = Additive((60.0, 30.0, 30.0, 10.0), (30.0, 20.0, 20.0, 10.0), 50.0, 1.0, 100.0)
    best = best_mask(problem)
    assert (90, 50) == (problem.worth(best), problem.cost(best))
    assert (False,) * 2 == best_mask(Additive((1.0, 1.0), (1.0, 1.0), 0.0, 1.0, 1.0))


def test_dynamic_programme_takes_a_deep_network() -> None:
    """As many layers as InceptionV3; the value of no other mask drawn comes near."""
    problem = drawn(189, seed=3)
    best = problem.fitness(best_mask(problem))
    rng = np.random.default_rng(0)
    masks = rng.random((2000, 189)) < rng.random((2000, 1))
    assert best > max(problem.fitness(tuple(map(bool, mask))) for mask in masks)


@pytest.mark.parametrize("seed", range(3))
def test_algorithm_1_reaches_the_optimum(seed: int) -> None:
    """With the paper's sizes and rates on twelve layers: 61 generations of ten."""
    problem = drawn(12, seed)
    config = FreezeConfig(beta=5.0, limit=0.4, generations=60, draws=1, tails=())
    found = evolved(problem, config, seed).best
    assert pytest.approx(problem.fitness(best_mask(problem))) == scalar_fitness(found, config)


def test_fewer_flips_come_nearer_on_more_layers() -> None:
    """On thirty layers a fifth of the bits is too many; four in a hundred do."""
    problem = drawn(30, seed=1)
    optimum = problem.fitness(best_mask(problem))
    reached = []
    for mutation in (0.2, 0.04):
        config = FreezeConfig(beta=5.0, limit=0.4, generations=80, mutation=mutation, tails=())
        reached.append(scalar_fitness(evolved(problem, config, 1).best, config) / optimum)
    assert 0.8 < reached[0] < reached[1] <= 1
    assert reached[1] > 0.93


def test_costs_below_zero_are_refused() -> None:
    with pytest.raises(ConfigError, match="expected cost of at least 0, received -1"):
        Additive((1.0, 1.0), (1.0, -1.0), 1.0)
    with pytest.raises(ConfigError, match="expected as many values as costs, received 1 and 2"):
        Additive((1.0,), (1.0, 1.0), 1.0)


def test_children_that_are_not_crossed_are_their_first_parent() -> None:
    """Without flips nothing new is bred then; at a ratio of one everything is crossed."""
    space, rng = Space((((0, 1),) * 12,)), np.random.default_rng(0)
    worth = rng.random(12)

    def evaluate(generation):
        return [float(np.dot(worth, genes)) for (genes,) in generation]

    for ratio, is_new in ((0.0, False), (1.0, True)):
        rates = Settings(8, 4, tournament=2, mutation_ratio=0.0, crossover_ratio=ratio)
        first, *later = (set(g.individuals) for g in evolve(space, evaluate, rates, 3).generations)
        assert is_new == bool(set().union(*later) - first)


def test_same_seed_same_selection_and_every_mask_once() -> None:
    problem, config = drawn(10, 1), FreezeConfig(generations=20)
    one = evolved(problem, config, 5)
    assert one == evolved(problem, config, 5)
    assert one.generations != evolved(problem, config, 6).generations
    masks = [individual.mask for individual in one.individuals]
    assert len(masks) == len(set(masks)) == one.generations[-1].known


def test_tails_open_the_first_generation_and_given_layers_are_always_trained() -> None:
    problem = drawn(10, 1)
    asked = []

    def judge(masks):
        asked.append([mask_text(mask) for mask in masks])
        for mask in masks:
            yield FreezeIndividual(mask_text(mask), 0.0, problem.cost(mask), 0.0, 0.0)

    config = FreezeConfig(generations=3, tails=(0.1, 0.5, 1.0))
    select_masks(Problem(config, 10, judge, always=(0, 9)), 1, Nobody())
    assert ["1000000001", "1000011111", "1" * 10] == asked[0][:3]
    assert all(mask[0] == mask[9] == "1" for masks in asked for mask in masks)


def test_front_of_two_objectives_is_the_exact_one() -> None:
    """Value against trained layers on ten layers: best values for each number, by sorting."""
    problem = drawn(10, 2)
    config = FreezeConfig(
        objectives=("score", "trained_layers"), generations=60, mutation=0.1, tails=()
    )
    found = evolved(problem, config, 1)
    ordered = sorted(problem.values, reverse=True)
    exact = {count: sum(ordered[:count]) for count in range(11)}
    reached = {i.trained_layers: i.score for i in found.front}
    assert exact.keys() == reached.keys()
    for count, score in reached.items():
        assert score <= exact[count] + 1e-12
        assert score >= 0.9 * exact[count]
    volumes = [record.hypervolume for record in found.generations]
    assert sorted(volumes) == volumes


def test_evolution_surpasses_masks_drawn_at_random() -> None:
    """With as many judgements; both begin with the same generation."""
    problem, reached = drawn(25, 1), []
    for method in ("evolution", "random"):
        config = FreezeConfig(
            beta=5.0, limit=0.4, generations=60, mutation=0.05, elite=2, method=method
        )
        found = evolved(problem, config, 1)
        reached.append((scalar_fitness(found.best, config), found.individuals[:10]))
    assert reached[0][0] > reached[1][0] * 1.05
    assert reached[0][1] == reached[1][1]


def test_front_keeps_to_the_limit() -> None:
    problem = drawn(10, 2)
    config = FreezeConfig(objectives=("score", "trained_layers"), limit=0.4, generations=30)
    found = evolved(problem, config, 1)
    within = [i for i in found.individuals if i.cost <= 0.4]
    assert found.front
    for one, other in itertools.product(found.front, within):
        assert one.cost <= 0.4
        assert not (other.score > one.score and other.trained_layers <= one.trained_layers)
