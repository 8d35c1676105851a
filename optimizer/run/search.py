"""The search stage of a run: done once, its outcome kept in the run's folder."""

import dataclasses
import math

import msgspec

from headtail.energy import predict_compute
from headtail.errors import SearchError
from headtail.operations import Operations
from optimizer.executor.executor import Executor
from optimizer.progress import Reporter
from optimizer.recipe.recipe import Recipe
from optimizer.recipe.search import Goal, SearchConfig
from optimizer.run.short_training import ShortTraining
from optimizer.run_folder import HISTORY, SEARCH, RunFolder
from optimizer.search.genome_cost import Terms, assess
from optimizer.search.history import SearchHistoryWriter, continue_history, read_history
from optimizer.search.record import SearchRecord
from optimizer.search.search import Problem, search
from optimizer.search.training import Evaluate, Scores


def search_or_restore(
    recipe: Recipe,
    terms: Terms,
    trainer: ShortTraining,
    executor: Executor,
    folder: RunFolder,
    reporter: Reporter,
) -> SearchRecord:
    """Return what the recipe's search finds, from the folder where it is finished.

    An interrupted search goes on with the history it left and comes to the same end.

    Raises:
        SearchError: If no network is within the bounds, or something that is asked for cannot be
            predicted for the device; nothing has been trained then.
        ConfigError: If a loss leaves the finite numbers, or the folder's record cannot be read.
    """
    assert recipe.search is not None, "asked for"
    record = folder.read_record(SEARCH, SearchRecord)
    if record is None:
        goals = front_goals(recipe)
        check_speeds(goals, terms)
        earlier = continue_history(folder, goals, recipe.seed)
        scores = trainer.scores  # one object: the executor's workers get it once
        with reporter.stage("search") as advance:
            problem = _problem(
                recipe, terms, trainer.classes, lambda networks: executor.run(scores, networks)
            )
            problem = dataclasses.replace(
                problem, restored=earlier.scores, inputs=trainer.shapes[1:]
            )
            writer = SearchHistoryWriter(recipe.search, folder, advance, earlier)
            record = search(problem, recipe.seed, writer)
        stuck = _count_stuck(folder, trainer)
        record = msgspec.structs.replace(record, stuck=stuck)
        record = _extract(record, recipe.search, trainer, executor, reporter)
        writer.found(record.winner)
        folder.write_record(SEARCH, record)
    reporter.say(f"found {record}")
    return record


def _count_stuck(folder: RunFolder, trainer: ShortTraining) -> int:
    told = read_history(folder.path / HISTORY).individuals
    scores = ((i.score, trainer.constant_score(i.input)) for i in told)
    return sum(score is not None and score <= constant for score, constant in scores)


def _extract(
    record: SearchRecord,
    config: SearchConfig,
    trainer: ShortTraining,
    executor: Executor,
    reporter: Reporter,
) -> SearchRecord:
    """Return the record with finalists trained for longer, where that is asked for.

    The winner is the best on the half of the validation split that did not steer or, where there
    are folds, in the mean over what they hold out.
    """
    if not config.extraction:
        return record
    folds = range(1, config.folds + 1) or (0,)
    longer = [
        (i, finalist.candidate(trainer.classes, config.extraction, fold))
        for i, finalist in enumerate(record.finalists)
        for fold in folds
    ]
    told: list[list[Scores]] = [[] for _ in record.finalists]
    with reporter.stage("train the finalists") as advance:
        advance(0, len(longer), "")
        trained = executor.run(trainer.scores, [candidate for _, candidate in longer])
        for done, (index, scores) in enumerate(trained, start=1):
            told[longer[index][0]].append(scores)
            advance(done, len(longer), "")
    finalists = [
        msgspec.structs.replace(
            finalist,
            score=math.fsum(s[0] for s in scores) / len(scores),
            final_score=math.fsum(s[1] for s in scores) / len(scores),
            epochs=config.extraction,
        )
        for finalist, scores in zip(record.finalists, told, strict=True)
    ]
    winner = max(finalists, key=lambda i: i.final_score or 0.0)
    return msgspec.structs.replace(record, winner=winner, finalists=tuple(finalists))


def front_goals(recipe: Recipe) -> tuple[Goal, ...]:
    """Return what the front is about: the search's objectives, or accuracy and the point's own."""
    assert recipe.search is not None, "asked for"
    objectives = recipe.search.objectives
    return objectives if len(objectives) > 1 else ("accuracy", recipe.partition.objective)


def check_speeds(goals: tuple[Goal, ...], terms: Terms) -> None:
    """Refuse to look for a latency that no profile predicts.

    Raises:
        SearchError: If latency is a goal or bounded, and the device profile has no speeds.
    """
    device = terms.profiles.devices[0]
    is_asked = "latency" in goals or terms.bounds.latency_s is not None
    if is_asked and predict_compute(device, Operations(conv_macs=1)).seconds is None:
        raise SearchError(
            "search",
            f"device profile '{device.name}' has no speeds, so latency can be neither an objective"
            " nor bounded",
        )


def _problem(recipe: Recipe, terms: Terms, classes: int, evaluate: Evaluate) -> Problem:
    config = recipe.search
    assert config is not None, "asked for"
    is_whole = config.method in {"no_partition", "partition_after"}
    asked = dataclasses.replace(terms, is_partitioned=not is_whole)
    bounds = terms.bounds

    return Problem(
        network=recipe.network,
        classes=classes,
        config=config,
        assess=lambda genome: assess(genome, asked),
        evaluate=evaluate,
        goals=front_goals(recipe),
        limits={
            "edge_energy": bounds.edge_j,
            "total_energy": bounds.total_j,
            "parameters": bounds.parameters,
            "latency": bounds.latency_s,
        },
        reassess=(lambda g: assess(g, terms)) if config.method == "partition_after" else None,
    )
