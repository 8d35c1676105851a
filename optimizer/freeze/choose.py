"""Choosing the layers to train: the selection of a recipe, from model to record, resumable."""

import hashlib
from collections.abc import Iterator, Sequence

import keras
import msgspec
import numpy as np

from headtail.errors import ConfigError
from optimizer.freeze.additive import Additive
from optimizer.freeze.config import FreezeConfig
from optimizer.freeze.history import (
    FreezeHistory,
    FreezeHistoryWriter,
    FreezeStart,
    continue_freeze_history,
)
from optimizer.freeze.individual import FreezeIndividual
from optimizer.freeze.layers import apply_mask, places
from optimizer.freeze.mask import FreezeMask, mask_text
from optimizer.freeze.network import Network, read_network
from optimizer.freeze.prediction import TrainingPrediction, measure_speed, predict_training
from optimizer.freeze.selection import FreezeGeneration, Problem, select_masks
from optimizer.freeze.training import FreezeLessons, FrozenTrainer
from optimizer.progress import Reporter
from optimizer.run_folder import RunFolder


class FreezeRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a selection found."""

    layers: tuple[str, ...]
    """Names in the order of the masks."""
    best: FreezeIndividual
    """The fittest; with several objectives by the same scalar fitness."""
    front: tuple[FreezeIndividual, ...]
    """The masks within the limit that no other surpasses in every objective."""
    individuals: tuple[FreezeIndividual, ...]
    """Every mask that was judged."""
    generations: tuple[FreezeGeneration, ...]
    flops_per_s: float
    """Speed behind the predicted energies."""

    @property
    def mask(self) -> FreezeMask:
        """The best mask."""
        return self.best.layers

    @property
    def trained(self) -> tuple[str, ...]:
        """Names of the layers that the best mask trains."""
        return tuple(n for n, t in zip(self.layers, self.mask, strict=True) if t)

    def __str__(self) -> str:
        return (
            f"{self.best.trained_layers} of {len(self.layers)} layers to train: score"
            f" {self.best.score:.3f}, cost {self.best.cost:.3f}; {len(self.individuals)} masks"
            f" judged, {len(self.front)} on the front"
        )


def choose_layers(
    model: keras.Model,
    lessons: FreezeLessons,
    config: FreezeConfig,
    seed: int,
    reporter: Reporter,
    folder: RunFolder | None = None,
) -> FreezeRecord:
    """Return the layers that are best trained; the same for the same seed, resumed or not.

    Trainings only repeat themselves where TensorFlow does: call
    `keras_engine.make_deterministic` first. The model is left with the weights that it came with
    and the best mask applied; `FrozenTrainer` trains it further.

    Args:
        model: Built Functional or Sequential model, ending in class shares, as it was adapted to
            the data.
        lessons: What brief trainings learn from, and what individuals are compared on.
        config: The recipe's section.
        seed: Decides every draw.
        reporter: Told how it goes.
        folder: Whose `history.jsonl` gets a line for each individual, and from which an
            interrupted selection goes on; None keeps nothing.

    Raises:
        ConfigError: If a layer that is named does not exist, an additive fitness has no values,
            the model has no graph, the loss leaves the finite numbers, or the folder holds another
            selection.
        DataError: If a split is empty.
    """
    network = read_network(model, config.train.optimizer)
    names = tuple(layer.name for layer in network.layers)
    always = places(network.layers, config.always, "freeze.always")
    trainer = FrozenTrainer(network, _few(lessons, config, seed), config.train, seed)
    digest = _digest(network, names, lessons, config, seed)
    earlier = continue_freeze_history(folder, digest) if folder else FreezeHistory()
    with reporter.stage("choose layers to train") as advance:
        writer = FreezeHistoryWriter(config, folder, advance, earlier)
        speed = earlier.start.flops_per_s if earlier.start else config.energy.flops_per_s
        speed = speed or measure_speed(trainer)
        if earlier.start is None:
            writer.start(FreezeStart(digest, names, speed))
        judge = _Judge(trainer, config, speed, earlier, writer)
        problem = Problem(
            config,
            len(names),
            judge.judge,
            always,
            judge.best_score,
            judge.prediction.energy_j((True,) * len(names)),
        )
        selected = select_masks(problem, seed, writer)
    network.restore()
    apply_mask(model, network.layers, selected.best.layers)
    record = FreezeRecord(
        names,
        selected.best,
        selected.front,
        selected.individuals,
        selected.generations,
        speed,
    )
    reporter.say(f"found {record}")
    return record


class _Judge:
    """Scores masks: from the history, by their values, or by training them."""

    def __init__(
        self,
        trainer: FrozenTrainer,
        config: FreezeConfig,
        speed: float,
        earlier: FreezeHistory,
        writer: FreezeHistoryWriter,
    ) -> None:
        self._trainer, self._config = trainer, config
        self._earlier, self._writer = earlier, writer
        windows = len(trainer.lessons.training.y)
        augments = trainer.lessons.augment is not None
        costs = trainer.network.costs
        self.prediction = predict_training(costs, config, windows, speed, augments=augments)
        self._additive = additive_problem(trainer.network, self.prediction, config)
        is_additive = config.fitness == "additive"
        self.best_score = sum(max(v, 0.0) for v in self._additive.values) if is_additive else 1.0

    def judge(self, masks: Sequence[FreezeMask]) -> Iterator[FreezeIndividual]:
        """Yield one individual for each mask, each as soon as it is known."""
        is_additive = self._config.fitness == "additive"
        for mask in masks:
            known = self._earlier.individuals.get(mask_text(mask))
            if known is None:
                known = self._value(mask) if is_additive else self._train(mask)
            yield known

    def _value(self, mask: FreezeMask) -> FreezeIndividual:
        cost, score = self._additive.cost(mask), self._additive.worth(mask)
        flops, energy_j = self.prediction.flops(mask), self.prediction.energy_j(mask)
        return FreezeIndividual(mask_text(mask), score, cost, flops, energy_j)

    def _train(self, mask: FreezeMask) -> FreezeIndividual:
        done = self._trainer.train(mask, lambda passed: self._writer.passed(passed.epoch))
        scores, energy_j = done.validation, self.prediction.energy_j(mask)
        return FreezeIndividual(
            mask=mask_text(mask),
            score=scores.accuracy if self._config.select == "accuracy" else scores.macro_f1,
            cost=self.prediction.share(mask) if self._config.cost == "share" else energy_j,
            flops=self.prediction.flops(mask),
            energy_j=energy_j,
            loss=done.loss,
            training_s=sum(p.seconds for p in done.passes) if done.passes else None,
        )


def additive_problem(
    network: Network, prediction: TrainingPrediction, config: FreezeConfig
) -> Additive:
    """Return the knapsack of a recipe: its values, and the layers' costs by themselves.

    Raises:
        ConfigError: If a layer that has a value does not exist, or none has one and it is asked
            for.
    """
    if config.fitness == "additive" and not config.values:
        raise ConfigError(
            "freeze.values",
            "expected what layers are worth, for the additive fitness; received none",
        )
    named = places(network.layers, list(config.values), "freeze.values")
    values = np.zeros(len(network.layers))
    values[list(named)] = list(config.values.values())
    costs = prediction.layer_costs(config.cost)
    return Additive(tuple(map(float, values)), costs, config.limit, config.alpha, config.beta)


def _few(lessons: FreezeLessons, config: FreezeConfig, seed: int) -> FreezeLessons:
    """Return the lessons with as many training windows as brief trainings take."""
    count, most = len(lessons.training.y), config.train.windows
    if not 0 < most < count:
        return lessons
    chosen = np.sort(np.random.default_rng([seed, 2]).permutation(count)[:most])
    return FreezeLessons(lessons.training.take(chosen), lessons.validation, lessons.augment)


def _digest(
    network: Network,
    names: Sequence[str],
    lessons: FreezeLessons,
    config: FreezeConfig,
    seed: int,
) -> str:
    digest = hashlib.sha256(msgspec.json.encode([config, seed, names]))
    splits = lessons.training, lessons.validation
    for array in (*network.state, *(a for split in splits for a in (split.x, split.y))):
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
