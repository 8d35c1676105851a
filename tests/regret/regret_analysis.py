"""What fixed and live runs say: the best plan, regret, settling, switches, prediction errors."""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from statistics import median

import msgspec

from regret_cost import PlanKey, Window

SETTLE_WINDOWS = 20
"""Windows after the start, or after a step, that count for settling and not for regret."""
GOOD_RATIO, GOOD_RUN = 1.05, 5
"""A plan is good where its cost is at most so many times the best one's; settled is who keeps to
good plans for so many windows."""
Cost = Callable[[Window], float]


class Fixed(msgspec.Struct, frozen=True):
    """What one fixed plan cost on one link."""

    plan: PlanKey
    windows: int
    """That are in the means."""
    costs: dict[str, float]
    """Mean by objective; infinite where a window missed its deadline."""
    medians: dict[str, float]
    """Likewise."""
    left: str = ""
    """Why it was left early; empty where it was measured to the end."""


class Prediction(msgspec.Struct, frozen=True):
    """Latencies of windows after settling as they were predicted and observed, in seconds."""

    predicted_s: float
    """Mean."""
    observed_s: float
    """Mean."""
    error: float
    """Mean of |predicted - observed| / observed."""
    bias: float
    """The same mean, signed."""


class Phase(msgspec.Struct, frozen=True):
    """What a live run did from its start, or from a step of its link, on."""

    best: PlanKey
    best_cost: float
    live_cost: float
    """Mean over the windows after settling."""
    median_regret: float
    """Regret if medians are compared, the best plan's being the least: what a busy moment of the
    machine does to a few windows is not in it, nor is what few windows on a dear plan cost."""
    windows: int
    """After settling."""
    seconds: float
    """That those lasted."""
    settled_after: int | None
    """Windows until only good plans came; None: never."""
    switches: int
    """Of plan, after settling, where nothing had changed."""
    shares: dict[str, float]
    """Of the windows after settling, by plan."""
    prediction: "Prediction | None"
    """None where nothing was predicted."""
    runs: tuple[float, ...] = ()
    """Regret of each of several runs, of which this one has the median."""

    @property
    def regret(self) -> float:
        """By what share of the best fixed plan's cost the live choice cost more."""
        return self.live_cost / self.best_cost - 1.0


def middle_of(runs: Sequence[Phase]) -> Phase:
    """Return one phase of several runs of a link: that of the run with the median regret.

    What is said of settling is the median too; switches are those of all runs, over all their time.
    """
    regrets = sorted(phase.regret for phase in runs)
    middle = next(p for p in runs if p.regret == regrets[len(runs) // 2])
    settled = [math.inf if p.settled_after is None else p.settled_after for p in runs]
    windows = sorted(settled)[len(runs) // 2]
    return msgspec.structs.replace(
        middle,
        settled_after=None if math.isinf(windows) else int(windows),
        switches=sum(p.switches for p in runs),
        seconds=sum(p.seconds for p in runs),
        runs=tuple(regrets),
    )


def plan_name(plan: PlanKey) -> str:
    """Return what a plan is called in tables: `2 int8`."""
    return " ".join(str(part) for part in plan if part != "")


def mean(values: Sequence[float]) -> float:
    """Return the mean; not a number where there is nothing."""
    return sum(values) / len(values) if values else math.nan


def best_of(fixed: Sequence[Fixed], objective: str) -> Fixed:
    """Return the cheapest plan of those measured on one link."""
    return min(fixed, key=lambda f: f.costs[objective])


def good_plans(fixed: Sequence[Fixed], objective: str) -> frozenset[PlanKey]:
    """Return the plans that cost little more than the best."""
    limit = GOOD_RATIO * best_of(fixed, objective).costs[objective]
    return frozenset(f.plan for f in fixed if f.costs[objective] <= limit)


def is_plainly_bad(
    costs: Sequence[Mapping[str, float]], best: Mapping[str, float], ratio: float
) -> bool:
    """Return whether no window of a plan came near the best one's mean, in any objective.

    Args:
        costs: Of each window, by objective.
        best: The least mean so far, by objective.
        ratio: How near is near.
    """
    return all(min(c[o] for c in costs) > ratio * best[o] for o in best)


def settled_after(plans: Sequence[PlanKey], good: frozenset[PlanKey]) -> int | None:
    """Return how many windows passed before the first run of good ones; None: there was none."""
    for start in range(len(plans) - GOOD_RUN + 1):
        if all(plan in good for plan in plans[start : start + GOOD_RUN]):
            return start
    return None


def switches(plans: Sequence[PlanKey]) -> int:
    """Return how often the plan changed from one window to the next."""
    return sum(a != b for a, b in itertools.pairwise(plans))


def judge_prediction(windows: Sequence[Window]) -> Prediction | None:
    """Return how well the latencies of windows were predicted; None where none was.

    A window that came back from its fog to the edge was predicted for another way: it is left out.
    """
    pairs = [
        (w.predicted_s, w.latency_s)
        for w in windows
        if w.predicted_s is not None and w.fallback is None
    ]
    if not pairs:
        return None
    errors = [(predicted - observed) / observed for predicted, observed in pairs]
    return Prediction(
        predicted_s=mean([p for p, _ in pairs]),
        observed_s=mean([o for _, o in pairs]),
        error=mean([abs(e) for e in errors]),
        bias=mean(errors),
    )


def lost_and_repeated(windows: Sequence[Window], sent: int) -> tuple[int, int]:
    """Return how many of the sequences 0 to `sent` - 1 never came, and how many came again."""
    distinct = {w.sequence for w in windows if 0 <= w.sequence < sent}
    return sent - len(distinct), len(windows) - len(distinct)


def judge_phase(
    windows: Sequence[Window], fixed: Sequence[Fixed], objective: str, cost: Cost
) -> Phase:
    """Return what a live run did in one phase.

    Args:
        windows: Those that began in it, in order.
        fixed: What every plan cost on the same link.
        objective: The one that the agent pursued.
        cost: Prices a window in that objective.
    """
    # Who got through fewer windows is judged by the last of them.
    best, after = best_of(fixed, objective), windows[SETTLE_WINDOWS:] or windows[-1:]
    least = min(f.medians[objective] for f in fixed)
    plans = [w.plan for w in after]
    names = [plan_name(plan) for plan in plans]
    seconds = after[-1].began_s + after[-1].latency_s - after[0].began_s if after else 0.0
    return Phase(
        best=best.plan,
        best_cost=best.costs[objective],
        live_cost=mean([cost(w) for w in after]),
        median_regret=median([cost(w) for w in after]) / least - 1.0,
        windows=len(after),
        seconds=seconds,
        settled_after=settled_after([w.plan for w in windows], good_plans(fixed, objective)),
        switches=switches(plans),
        shares={name: names.count(name) / len(names) for name in sorted(set(names))},
        prediction=judge_prediction(after),
    )
