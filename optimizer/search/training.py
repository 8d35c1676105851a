"""The trainings of a search: each network once, or at several rungs of which each takes the better.

Source of the rungs: successive halving, Jamieson & Talwalkar, arXiv:1502.07943.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from optimizer.candidate import Candidate
from optimizer.recipe.search import SearchConfig
from optimizer.search.fitness import fitness
from optimizer.search.individual import Individual, NetworkKey
from optimizer.search.record import Watcher

Scores = tuple[float, float]
"""Of one network on the two halves of the validation split."""
Evaluate = Callable[[Sequence[Candidate]], Iterable[tuple[int, Scores]]]
"""Trains networks briefly; yields each one's index and scores, in any order."""
TrainingKey = tuple[NetworkKey, int]
"""A network and the passes of its training, 0 for those that the search does by default."""


class SearchTraining:
    """Trains what is asked for and tells of every score as it comes."""

    def __init__(
        self,
        config: SearchConfig,
        classes: int,
        evaluate: Evaluate,
        restored: Mapping[TrainingKey, Scores],
        watcher: Watcher,
    ) -> None:
        """Begin with nothing trained.

        Args:
            config: Which rungs there are, and what is aimed at.
            classes: Outputs of each network.
            evaluate: Trains.
            restored: What is known already and need not be trained.
            watcher: Who is told.
        """
        self._config = config
        self._classes = classes
        self._evaluate = evaluate
        self._restored = restored
        self._watcher = watcher

    def halve(self, waiting: Sequence[Individual], generation: int, done: int) -> list[Individual]:
        """Return the networks with their scores, each from the last rung that it came to.

        At every rung but the last the fitter share of the networks goes on, compared with each
        other alone; of equally fit ones those that come first. Its earlier score is forgotten. So
        scores of different rungs stand side by side: one that stopped early surpasses another that
        went on only where its own score is higher, of equal ones the longer trained is first.

        Args:
            waiting: Feasible networks of one generation.
            generation: Its number.
            done: Individuals of all generations that need no training any more.
        """
        rungs = self._config.rungs or (0,)
        scored = {i.key: i for i in waiting}
        climbing = list(waiting)
        for epochs in rungs[:-1]:
            reached = self._train(climbing, epochs, generation, None)
            scored.update((i.key, i) for i in reached)
            worth = fitness(reached, self._config.objectives)
            order = sorted(range(len(reached)), key=lambda i: -worth[i])
            kept = sorted(order[: math.ceil(self._config.keep * len(reached))])
            climbing = [reached[i] for i in kept]
            self._watcher.advance(done + len(waiting) - len(climbing))
        first = done + len(waiting) - len(climbing)
        scored.update((i.key, i) for i in self._train(climbing, rungs[-1], generation, first))
        return [scored[i.key] for i in waiting]

    def train(self, waiting: Sequence[Individual], generation: int, done: int) -> list[Individual]:
        """Return the networks with their scores from the last rung.

        Args:
            waiting: Feasible networks.
            generation: The one in which they are told.
            done: Individuals of all generations that need no training any more.
        """
        return self._train(
            waiting, self._config.rungs[-1] if self._config.rungs else 0, generation, done
        )

    def _train(
        self, waiting: Sequence[Individual], epochs: int, generation: int, done: int | None
    ) -> list[Individual]:
        trained: dict[NetworkKey, Individual] = {}

        def take(individual: Individual, scores: Scores) -> None:
            score, final = scores
            whole = msgspec.structs.replace(
                individual, score=score, final_score=final, epochs=epochs
            )
            trained[individual.key] = whole
            self._watcher.individual(generation, whole)
            if done is not None:
                self._watcher.advance(done + len(trained))

        missing = []
        for individual in waiting:
            scores = self._restored.get((individual.key, epochs))
            if scores is None:
                missing.append(individual)
            else:
                take(individual, scores)
        candidates = [i.candidate(self._classes, epochs) for i in missing]
        for index, scores in self._evaluate(candidates) if candidates else ():
            take(missing[index], scores)
        return [trained[i.key] for i in waiting]
