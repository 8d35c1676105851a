"""Drawings of a search, made from its history and its recipe alone."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from optimizer.partition import Bounds
from optimizer.recipe.recipe import Recipe
from optimizer.recipe.search import Goal
from optimizer.report.chart import X_PIXELS, Y_PIXELS, Chart, Key, chart, draw_keys
from optimizer.report.svg import (
    BEST,
    EDGE,
    FAINT,
    RADIO,
    Place,
    Scale,
    log_scale,
    scale,
)
from optimizer.report.text import energy_unit, show_j
from optimizer.search.history import SearchHistory
from optimizer.search.individual import Individual
from optimizer.search.pareto import nondominated

SELECTS = {"accuracy": "accuracy", "macro_f1": "macro-F1"}
DEEPEST = 30.0  # points below the best; what scores less lies on the bottom line
MOST_HOVERS = 1000  # of the networks beside the front the best ones, so that a page stays small
LOG_RATIO = 8.0  # energies that differ by more are laid on a logarithmic scale


@dataclass(frozen=True, slots=True)
class _Search:
    """A search as its folder tells it."""

    history: SearchHistory
    bounds: Bounds
    select: str
    """Name of the score that networks are compared by."""


def draw_search(history: SearchHistory, recipe: Recipe) -> dict[str, str]:
    """Draw a search from its history and recipe.

    Returns:
        SVG texts by name: front_edge, front_total where total energy is a goal, generations and
        hypervolume. None where the recipe has no search or nothing was trained.
    """
    if recipe.search is None or not history.scores or not history.generations:
        return {}
    search = _Search(history, recipe.partition.bounds, SELECTS[recipe.search.select])
    plots = {"front_edge": draw_front(search, "edge_energy")}
    if "total_energy" in history.goals:
        plots["front_total"] = draw_front(search, "total_energy")
    plots["generations"] = draw_generations(search)
    if history.hypervolume[-1] > 0:
        plots["hypervolume"] = draw_hypervolume(search)
    return plots


def draw_front(search: _Search, goal: Goal) -> str:
    """Draw the score of every trained network against an energy, the front and the winner."""
    history = search.history
    known = [i for i in history.individuals if i.score is not None]
    winner = history.winner
    told = [*known, winner] if winner else known
    energies = [_energy(i, goal) for i in told]
    best = 100 * max(i.score or 0 for i in told)
    scores = [max(best - DEEPEST, 100 * (i.score or 0)) for i in told]
    unit_j, unit = energy_unit(max(energies))
    values = [e / unit_j for e in energies]
    x, y = _energy_scale(values), scale(scores, Y_PIXELS)
    name = "edge energy" if goal == "edge_energy" else "energy of edge and fog"
    drawn = chart(
        x,
        y,
        f"{name} of a window, {unit}, modelled",
        f"{search.select} on the steering half, %",
        f"{search.select} against {name} of every network that was trained",
    )
    limit = search.bounds.edge_j if goal == "edge_energy" else search.bounds.total_j
    if limit is not None:
        drawn.limit(limit / unit_j, "bound")
    _draw_rug(drawn, search, goal, unit_j)
    front = {i.key for i in history.front}
    others = sorted((i for i in known if i.key not in front), key=lambda i: -(i.score or 0))
    for rank, individual in enumerate(others):
        place = _place(drawn, individual, goal, unit_j)
        hover = describe(individual, search.select) if rank < MOST_HOVERS else ""
        drawn.sheet.dot(place, 3.5, FAINT, hover, fill_opacity=0.65)
    _draw_front(drawn, search, goal, unit_j)
    if winner:
        place = _place(drawn, winner, goal, unit_j)
        hover = f"chosen\n{describe(winner, search.select)}"
        drawn.sheet.mark(place, "star", BEST, hover, 6)
    keys = [Key("trained", FAINT, "circle"), Key("front", EDGE, "circle")]
    keys += [Key("chosen", BEST, "star")] if winner else []
    keys += [Key("never trained", RADIO, "tick")] if len(known) < len(history.individuals) else []
    draw_keys(drawn.sheet, keys, (X_PIXELS[0], 18))
    return drawn.sheet.svg()


def draw_generations(search: _Search) -> str:
    """Draw best and mean score of every generation."""
    told = [g for g in search.history.generations if g.best is not None and g.mean is not None]
    best = [(g.generation, g.best or 0.0) for g in told]
    mean = [(g.generation, g.mean or 0.0) for g in told]
    is_score = all(value <= 1 for _, value in best)  # a proxy counts parameters or operations
    factor, unit = (100, ", %") if is_score else (1, "")
    name = search.select if is_score else "what stands for the score"
    lines = [[(g, factor * v) for g, v in line] for line in (best, mean)]
    drawn = chart(
        _generation_scale(search.history),
        scale([v for line in lines for _, v in line] or [0], Y_PIXELS),
        "generation",
        f"{name}{unit}",
        "best and mean score by generation",
    )
    for line, what, color in zip(lines, ("best", "mean"), (EDGE, RADIO), strict=True):
        drawn.curve(line, color)
        drawn.dots([(g, v, f"generation {g}\n{what} {v:.1f}{unit[1:]}") for g, v in line], color)
    keys = [Key("best of the generation", EDGE), Key("mean of the feasible", RADIO)]
    draw_keys(drawn.sheet, keys, (X_PIXELS[0], 18))
    return drawn.sheet.svg()


def draw_hypervolume(search: _Search) -> str:
    """Draw the share of the box that the whole search's front dominates, by generation."""
    told = search.history.generations
    drawn = chart(
        _generation_scale(search.history),
        scale([g.hypervolume for g in told], Y_PIXELS),
        "generation",
        "hypervolume, share of its box",
        "hypervolume of the front by generation",
    )
    drawn.curve([(g.generation, g.hypervolume) for g in told], EDGE)
    drawn.dots(
        [
            (
                g.generation,
                g.hypervolume,
                f"generation {g.generation}\nhypervolume {g.hypervolume:.4f}\n{g.front} on the"
                f" front\n{g.trained} of {g.known} networks trained",
            )
            for g in told
        ],
        EDGE,
    )
    goals = ", ".join(goal.replace("_", " ") for goal in search.history.goals)
    draw_keys(drawn.sheet, [Key(f"front in {goals}", EDGE)], (X_PIXELS[0], 18))
    return drawn.sheet.svg()


def describe(individual: Individual, select: str) -> str:
    """Return all that is known of a network, one fact a line."""
    found = individual.assessment
    lines = [
        f"lengths {_numbers(individual.lengths)}",
        f"channels {_numbers(individual.channels)}",
    ]
    if individual.kernels:
        lines.append(f"kernels {_numbers(individual.kernels)} strides")
    if individual.input:
        lines.append(f"input {individual.input} of [[search.inputs]]")
    if found.point is not None and found.encoding is not None:
        lines.append(f"point {found.point}, {found.encoding.value} on the wire")
    if found.parameters is not None:
        lines.append(f"{found.parameters} parameters")
    energies = [("edge", found.edge_j), ("edge and fog", found.total_j)]
    lines += [f"{name} {show_j(joules)}" for name, joules in energies if joules is not None]
    halves = [("steering", individual.score), ("deciding", individual.final_score)]
    lines += [f"{select} {100 * s:.1f} % on the {half} half" for half, s in halves if s is not None]
    return "\n".join(lines)


def _draw_front(drawn: Chart, search: _Search, goal: Goal, unit_j: float) -> None:
    """Draw the front's networks, and a line through those best in this pair of goals."""
    front = search.history.front
    turned = np.asarray([(_energy(i, goal), -(i.score or 0)) for i in front]).reshape(-1, 2)
    line = sorted((front[i] for i in nondominated(turned)), key=lambda i: _energy(i, goal))
    drawn.sheet.path(_stairs([_place(drawn, i, goal, unit_j) for i in line]), EDGE)
    for individual in front:
        place = _place(drawn, individual, goal, unit_j)
        hover = f"on the front\n{describe(individual, search.select)}"
        drawn.sheet.dot(place, 4.5, EDGE, hover, stroke="white")


def _draw_rug(drawn: Chart, search: _Search, goal: Goal, unit_j: float) -> None:
    """Draw a tick on the axis for each network that was never trained, where it has an energy."""
    for individual in search.history.individuals:
        found = individual.assessment
        joules = found.edge_j if goal == "edge_energy" else found.total_j
        if individual.score is not None or joules is None:
            continue
        if drawn.x.low <= joules / unit_j <= drawn.x.high:
            hover = f"{describe(individual, search.select)}\n{found.reason}".strip()
            corner = drawn.x(joules / unit_j) - 0.75, drawn.y.start - 8
            drawn.sheet.box(corner, (1.5, 8), RADIO, hover, fill_opacity=0.6)


def _stairs(places: Sequence[Place]) -> list[Place]:
    """Return the border of what is dominated: level until a better network costs more."""
    corners = []
    for before, after in itertools.pairwise(places):
        corners += [before, (after[0], before[1])]
    return [*corners, *places[-1:]]


def _place(drawn: Chart, individual: Individual, goal: Goal, unit_j: float) -> Place:
    """Return where a network is drawn: one below the axis at its lower end."""
    score = max(drawn.y.low, 100 * (individual.score or 0))
    return drawn.place(_energy(individual, goal) / unit_j, score)


def _energy(individual: Individual, goal: Goal) -> float:
    found = individual.assessment
    joules = found.edge_j if goal == "edge_energy" else found.total_j
    assert joules is not None, "trained networks are feasible, so they are priced"
    return joules


def _energy_scale(values: Sequence[float]) -> Scale:
    if min(values) > 0 and max(values) > LOG_RATIO * min(values):
        return log_scale(values, X_PIXELS)
    return scale(values, X_PIXELS)


def _generation_scale(history: SearchHistory) -> Scale:
    last = max(1, history.generations[-1].generation)
    return Scale(0, last, *X_PIXELS)


def _numbers(values: Sequence[int | float]) -> str:
    return " ".join(f"{value:.3g}" if value < 1 else str(value) for value in values)
