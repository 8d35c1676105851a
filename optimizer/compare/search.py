"""Rows of other ways to search: the same budget, space, bounds, data and seed, another method."""

import time

import msgspec

from headtail.errors import SearchError
from optimizer.compare.compare import ComparatorRow
from optimizer.compare.contest import Contest
from optimizer.progress import Reporter
from optimizer.recipe.recipe import ComparedMethod, Recipe
from optimizer.recipe.search import ZERO_SHOT
from optimizer.run_folder import HISTORY, RunFolder
from optimizer.search.history import read_history
from optimizer.search.individual import Individual
from optimizer.search.record import SearchRecord

NAMES = {
    "evolution": "evolution",
    "random": "random search",
    "no_partition": "search without partition",
    "partition_after": "partition after the search",
    "parameters": "zero-shot (#parameters)",
    "flops": "zero-shot (#FLOPs)",
}


def own_row(contest: Contest, winner: SearchRecord, folder: RunFolder) -> ComparatorRow:
    """Return the row of the run's own search, its winner trained as the others' are."""
    assert contest.recipe.search is not None, "it found the winner"
    name = f"this search ({NAMES[contest.recipe.search.method]})"
    trained = _count(contest.recipe, winner, folder)
    row = _row(contest, name, winner.winner, trained, time.monotonic())
    return msgspec.structs.replace(row, note=f"{row.note}; its search took time besides")


def method_row(
    contest: Contest,
    method: ComparedMethod,
    own: SearchRecord,
    folder: RunFolder,
    reporter: Reporter,
) -> ComparatorRow:
    """Return what another method finds with as many networks as the run's own search looked at.

    It trains its own networks, whatever another search may have learned of them before, so that
    its trainings and its time are its own.

    Args:
        contest: The harness.
        method: How to search.
        own: The run's own search.
        folder: The method's own, where an interrupted search goes on.
        reporter: Told of its progress.
    """
    began = time.monotonic()
    recipe = same_budget(contest.recipe, method, own)
    assert contest.search is not None, "the recipe has a search"
    try:
        found = contest.search(recipe, folder, reporter)
    except SearchError as error:
        return ComparatorRow(
            NAMES[method],
            "measured",
            trainings=len(read_history(folder.path / HISTORY).scores),
            seconds=time.monotonic() - began,
            note=f"nothing found: {error}",
        )
    return _row(contest, NAMES[method], found.winner, _count(recipe, found, folder), began)


def same_budget(recipe: Recipe, method: ComparedMethod, own: SearchRecord) -> Recipe:
    """Return the recipe with another method and as many generations as the run's own search had.

    A zero-shot search has accuracy as its objective, the only one it can stand in for.
    """
    assert recipe.search is not None, "the run searched"
    search = msgspec.structs.replace(
        recipe.search,
        method=method,
        generations=max(1, len(own.generations) - 1),
        patience=0,
        objectives=("accuracy",) if method in ZERO_SHOT else recipe.search.objectives,
    )
    return msgspec.structs.replace(recipe, search=search)


def _count(recipe: Recipe, found: SearchRecord, folder: RunFolder) -> int:
    """Return the trainings of a search, those of the extraction among them."""
    longer = len(found.finalists) if recipe.search and recipe.search.extraction else 0
    return len(read_history(folder.path / HISTORY).scores) + longer


def _row(
    contest: Contest, name: str, winner: Individual, trained: int, began: float
) -> ComparatorRow:
    candidate = winner.candidate(contest.classes)
    footprints = candidate.genome.footprints()
    whole = footprints[-1].operations
    row = ComparatorRow(
        name,
        "calculated",
        edge_j=winner.assessment.edge_j,
        total_j=winner.assessment.total_j,
        parameters=whole.parameters,
        edge_parameters=footprints[candidate.point].operations.parameters,
        point=candidate.point,
        encoding=candidate.encoding.value,
        trainings=trained,
        seconds=time.monotonic() - began,
        note=winner.description,
        macs=whole.macs,
    )
    inputs = contest.inputs[winner.input]
    return contest.tested(row, lambda seed: contest.retrain(candidate, inputs, seed)[1])
