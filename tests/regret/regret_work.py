"""The two tasks of the regret grid's processes: every fixed plan in one weather, one live run."""

import functools
import logging
import sys
from collections.abc import Sequence
from statistics import median

import msgspec

from headtail.profile import read_device_profile, read_link_profile
from regret_analysis import Fixed, is_plainly_bad, mean
from regret_cost import OBJECTIVES, Prices, Window
from regret_device import DEVICE, LINK
from regret_links import NOISE_PERIOD_S, STEP_S, Link, Weather
from regret_run import Agents, Site

WARM_WINDOWS, FULL_WINDOWS, MEASURE_S = 2, 20, NOISE_PERIOD_S
"""Of a fixed plan: left out at the start, then counted at least, where it is noisy for so long."""
LIVE_S = 3 * NOISE_PERIOD_S
"""Of a live run on a link without steps, after settling."""
LEAVE = ((3, 2.0), (6, 1.2))
"""After so many windows a plan is left whose cheapest one costs more than so many times the best
mean in every objective; the second only where the link is steady."""
MISSED = "missed its deadline"
SWITCH_INTERVAL_S = 5e-4
"""As the agent's own program has it."""


class FixedRun(msgspec.Struct, frozen=True):
    """One fixed plan in one weather, with its windows."""

    fixed: Fixed
    windows: list[Window]


class LiveRun(msgspec.Struct, frozen=True):
    """One live run, with its windows."""

    windows: list[Window]
    sent: int


def start(site: Site) -> None:
    """Prepare a process."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    logging.getLogger("edge_agent").setLevel(logging.ERROR)  # slow links are lost on purpose
    _agents(site)
    _prices()


def measure_fixed(site: Site, weather: Weather) -> list[FixedRun]:
    """Measure every fixed plan in one weather, one after the other."""
    agents, prices = _agents(site), _prices()
    runs: list[FixedRun] = []
    for plan in agents.plans(weather):
        known = [r.fixed.costs for r in runs if not r.fixed.left]
        best = {o: min(c[o] for c in known) for o in OBJECTIVES} if known else {}
        reasons: list[str] = []
        is_over = functools.partial(_is_over, weather=weather, best=best, reasons=reasons)
        windows = agents.run_fixed(weather.trace(), plan, is_over)
        counted = windows[WARM_WINDOWS:]
        left = reasons[0] if reasons else ""
        costs, medians = (
            {o: average([prices.cost(w, o) for w in counted]) for o in OBJECTIVES}
            if left != MISSED
            else dict.fromkeys(OBJECTIVES, float("inf"))
            for average in (mean, median)
        )
        runs.append(FixedRun(Fixed(plan.key, len(counted), costs, medians, left), windows))
    return runs


def measure_live(site: Site, link: Link, objective: str) -> LiveRun:
    """Let an agent choose for as long as its link has phases."""
    settle, stop_s = 20, STEP_S * len(link.phases)

    def is_over(windows: Sequence[Window]) -> bool:
        if len(link.phases) > 1:
            return bool(windows) and windows[-1].began_s >= stop_s
        return len(windows) > settle and _lasted_s(windows[settle:]) >= LIVE_S

    return LiveRun(*_agents(site).run_live(link.trace(), objective, is_over))


def _is_over(
    windows: Sequence[Window], weather: Weather, best: dict[str, float], reasons: list[str]
) -> bool:
    """Return whether a fixed plan has been seen enough; say why where that is early."""
    counted = windows[WARM_WINDOWS:]
    if windows and windows[-1].fallback is not None:
        reasons.append(MISSED)
        return True
    costs = [{o: _prices().cost(w, o) for o in OBJECTIVES} for w in counted]
    for count, ratio in LEAVE if weather.seed is None else LEAVE[:1]:
        if best and len(counted) == count and is_plainly_bad(costs, best, ratio):
            reasons.append(f"{count} windows all over {ratio:g} times the best")
            return True
    if len(counted) < FULL_WINDOWS:
        return False
    return weather.seed is None or _lasted_s(counted) >= MEASURE_S


def _lasted_s(windows: Sequence[Window]) -> float:
    return windows[-1].began_s - windows[0].began_s


@functools.cache
def _agents(site: Site) -> Agents:
    return Agents(site)


@functools.cache
def _prices() -> Prices:
    return Prices(read_device_profile(DEVICE), read_link_profile(LINK))
