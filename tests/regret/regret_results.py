"""The results of the grid: every link and objective judged, and all of them together."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import msgspec

from headtail.profile import read_device_profile, read_link_profile
from regret_analysis import (
    Fixed,
    Phase,
    judge_phase,
    lost_and_repeated,
    mean,
    middle_of,
    plan_name,
)
from regret_cost import OBJECTIVES, Prices
from regret_device import DEVICE, LINK
from regret_links import STEP_S, Link, Weather
from regret_machine import Load, describe_machine
from regret_work import LiveRun

Costs = Mapping[Weather, list[Fixed]]
"""What every fixed plan cost in each weather."""
LiveRuns = Mapping[tuple[Link, str], Sequence[LiveRun]]
"""The runs on each link for each objective, an odd number of them."""
REGRET_LIMIT, ERROR_LIMIT, SETTLE_LIMIT, SWITCHES_A_MINUTE = 0.05, 0.10, 20, 1.0
"""What the issue asks for."""


class WeatherRow(msgspec.Struct, frozen=True):
    """Every fixed plan in one weather."""

    name: str
    rate: float
    round_trip_s: float
    is_noisy: bool
    fixed: list[Fixed]


class LinkRow(msgspec.Struct, frozen=True):
    """The live runs on one link, judged phase by phase; counts are of all of them."""

    kind: str
    name: str
    rate: float
    """Of the first phase's uplink, in bits a second."""
    round_trip_s: float
    objective: str
    phases: list[Phase]
    lost: int
    repeated: int
    wrong: int
    fallbacks: int

    @property
    def regret(self) -> float:
        """The largest of its phases."""
        return max(p.regret for p in self.phases)


class Results(msgspec.Struct, frozen=True):
    """All that a run of the grid found."""

    machine: str
    loads: list[Load]
    weathers: list[WeatherRow]
    links: list[LinkRow]

    @property
    def is_whole(self) -> bool:
        """Whether every window was answered once, and right."""
        return not any(row.lost or row.repeated or row.wrong for row in self.links)

    def rows(self, objective: str) -> list[LinkRow]:
        """Return the live runs with one objective."""
        return [row for row in self.links if row.objective == objective]

    def figures(self, objective: str) -> "Figures":
        """Return what must hold of one objective, as it was found."""
        return Figures.of([p for row in self.rows(objective) for p in row.phases])

    def summary(self) -> str:
        """Return the figures in a line for each objective."""
        lines = [load.text() for load in self.loads]
        for objective in OBJECTIVES:
            rows = self.rows(objective)
            lost = sum(r.lost + r.repeated for r in rows)
            figures = self.figures(objective).text()
            lines.append(f"{objective}: {len(rows)} links, {figures}, {lost} lost or repeated")
        return "\n".join(lines)


class Figures(msgspec.Struct, frozen=True):
    """Some phases together."""

    phases: int
    mean_regret: float
    median_regret: float
    worst_regret: float
    median_worst: float
    """Worst regret of medians against medians."""
    within: int
    """Phases whose regret is at most the limit."""
    settled: int
    """Phases settled within the limit of windows."""
    slowest: int | None
    """Most windows that one took to settle; None where one never did."""
    switches_a_minute: float
    """Of all phases together, after settling."""
    error: float
    """Mean over the phases of the mean absolute relative error of predicted latency."""
    errors_within: int

    @classmethod
    def of(cls, phases: Sequence[Phase]) -> "Figures":
        """Return the figures of at least one phase."""
        regrets = [p.regret for p in phases]
        settled = [p.settled_after for p in phases]
        known = [s for s in settled if s is not None]
        errors = [p.prediction.error for p in phases if p.prediction is not None]
        return cls(
            phases=len(phases),
            mean_regret=mean(regrets),
            median_regret=median(regrets),
            worst_regret=max(regrets),
            median_worst=max(p.median_regret for p in phases),
            within=sum(r <= REGRET_LIMIT for r in regrets),
            settled=sum(s <= SETTLE_LIMIT for s in known),
            slowest=max(known) if len(known) == len(settled) else None,
            switches_a_minute=60.0
            * sum(p.switches for p in phases)
            / sum(p.seconds for p in phases),
            error=mean(errors),
            errors_within=sum(e <= ERROR_LIMIT for e in errors),
        )

    def text(self) -> str:
        """Return them as one line."""
        slowest = "one never settled" if self.slowest is None else f"slowest {self.slowest}"
        return (
            f"regret mean {self.mean_regret:.1%}, median {self.median_regret:.1%}, worst"
            f" {self.worst_regret:.1%}, {self.within} of {self.phases} phases within"
            f" {REGRET_LIMIT:.0%}; {self.settled} settled within {SETTLE_LIMIT} windows"
            f" ({slowest}); {self.switches_a_minute:.2f} needless switches a minute; prediction"
            f" off by {self.error:.1%}, {self.errors_within} phases within {ERROR_LIMIT:.0%}"
        )


def judge(links: Sequence[Link], costs: Costs, live: LiveRuns, loads: Sequence[Load]) -> Results:
    """Return the results of what was measured."""
    weathers = [
        WeatherRow(w.name, w.rate, w.round_trip_s, w.seed is not None, found)
        for w, found in costs.items()
    ]
    rows = [
        _judge_link(link, objective, live[link, objective], costs)
        for objective in OBJECTIVES
        for link in links
    ]
    return Results(describe_machine(), list(loads), weathers, rows)


def _judge_link(link: Link, objective: str, runs: Sequence[LiveRun], costs: Costs) -> LinkRow:
    phases = [_judge_run(link, objective, run, costs) for run in runs]
    counts = [lost_and_repeated(run.windows, run.sent) for run in runs]
    windows = [w for run in runs for w in run.windows]
    return LinkRow(
        kind=link.kind,
        name=link.name,
        rate=link.phases[0].rate,
        round_trip_s=link.phases[0].round_trip_s,
        objective=objective,
        phases=[middle_of(same) for same in zip(*phases, strict=True)],
        lost=sum(lost for lost, _ in counts),
        repeated=sum(repeated for _, repeated in counts),
        wrong=sum(not w.is_right for w in windows),
        fallbacks=sum(w.fallback is not None for w in windows),
    )


def _judge_run(link: Link, objective: str, run: LiveRun, costs: Costs) -> list[Phase]:
    prices = Prices(read_device_profile(DEVICE), read_link_profile(LINK))
    phases = []
    for i, weather in enumerate(link.phases):
        last = i + 1 == len(link.phases)
        windows = [
            w
            for w in run.windows
            if i * STEP_S <= max(0.0, w.began_s) and (last or w.began_s < (i + 1) * STEP_S)
        ]
        phases.append(
            judge_phase(windows, costs[weather], objective, lambda w: prices.cost(w, objective))
        )
    return phases


def read_costs(path: Path, weathers: Sequence[Weather]) -> Costs:
    """Return what fixed plans cost in these weathers by the results of an earlier run.

    Raises:
        KeyError: If the run had no such weather.
    """
    earlier = msgspec.json.decode(path.read_bytes())
    rows = {row["name"]: [_fixed(plan) for plan in row["fixed"]] for row in earlier["weathers"]}
    return {weather: rows[weather.name] for weather in weathers}


def _fixed(plan: dict[str, Any]) -> Fixed:
    """Return a fixed plan from JSON, which has null where a plan missed its deadline: infinity."""
    for name in ("costs", "medians"):
        plan[name] = {o: math.inf if c is None else c for o, c in plan[name].items()}
    return msgspec.convert(plan, Fixed)


def best_counts(results: Results, objective: str) -> dict[str, int]:
    """Return in how many weathers each plan is the best fixed one, most often first."""
    names = [
        plan_name(min(row.fixed, key=lambda f: f.costs[objective]).plan) for row in results.weathers
    ]
    counts = {name: names.count(name) for name in set(names)}
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
