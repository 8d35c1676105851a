"""What the regret grid makes of its windows, by hand."""

import math

import msgspec
import pytest

from headtail.profile import read_device_profile, read_link_profile
from regret_analysis import (
    Fixed,
    best_of,
    good_plans,
    is_plainly_bad,
    judge_phase,
    judge_prediction,
    lost_and_repeated,
    middle_of,
    settled_after,
    switches,
)
from regret_cost import Prices, Window
from regret_device import DEVICE, LINK
from regret_links import STEP_S, Link, Weather, grid, reduced, weathers

A, B, C = (0, "int8", ""), (1, "int8", ""), (2, "float32", "")
FIXED = [
    Fixed(plan, 10, {"latency": s, "edge_energy": j}, {"latency": s, "edge_energy": j})
    for plan, s, j in ((A, 0.100, 3.0), (B, 0.104, 1.0), (C, math.inf, 9.0))
]


def window(sequence: int, plan=A, latency_s=0.1, predicted_s=None, **more) -> Window:
    """Return an observed window; one begins every fifth of a second."""
    return Window(
        0.2 * sequence, sequence, plan, "fog", latency_s, 0.02, 0.01, 500, 400,
        predicted_s=predicted_s, **more,
    )  # fmt: skip


def test_best_and_good_plans_depend_on_the_objective():
    assert [A, B] == [best_of(FIXED, o).plan for o in ("latency", "edge_energy")]
    assert {A, B} == good_plans(FIXED, "latency")
    assert {B} == good_plans(FIXED, "edge_energy")


def test_plan_is_plainly_bad_where_its_cheapest_window_is_in_every_objective():
    best = {"latency": 0.1, "edge_energy": 1.0}
    dear = {"latency": 0.21, "edge_energy": 2.1}
    assert is_plainly_bad([dear, dear], best, 2.0)
    assert not is_plainly_bad([dear, {"latency": 0.19, "edge_energy": 2.1}], best, 2.0)


def test_settled_after_the_first_run_of_good_plans():
    good = frozenset({A})
    assert 0 == settled_after([A] * 5, good)
    assert 3 == settled_after([A, A, B, A, A, A, A, A], good)
    assert settled_after([A, A, B, A, A], good) is None


def test_phase_of_several_runs_is_that_of_the_median_regret():
    """Settling is the median too, where one may never; switches are those of all."""
    windows = [window(i) for i in range(40)]
    phases = [
        msgspec.structs.replace(
            judge_phase([*windows], FIXED, "latency", lambda w: w.latency_s),
            live_cost=cost, settled_after=settled, switches=1, seconds=10.0,
        )
        for cost, settled in ((0.2, 7), (0.1, None), (0.11, 4))
    ]  # fmt: skip
    found = middle_of(phases)
    assert 0.11 == found.live_cost
    assert (7, 3, 30.0) == (found.settled_after, found.switches, found.seconds)
    assert (0.0, 0.1, 1.0) == pytest.approx(found.runs)
    never = [msgspec.structs.replace(p, settled_after=None) for p in phases[:2]]
    assert middle_of([*never, phases[2]]).settled_after is None


def test_switches_count_changes():
    assert 0 == switches([])
    assert 3 == switches([A, A, B, A, C, C])


def test_prediction_is_judged_window_by_window_without_fallbacks():
    seen = [window(0, predicted_s=0.09), window(1), window(2, predicted_s=1.0, fallback="deadline")]
    seen.append(window(3, latency_s=0.2, predicted_s=0.26))
    judged = judge_prediction(seen)
    assert judged is not None
    figures = (judged.predicted_s, judged.observed_s, judged.error, judged.bias)
    assert (0.175, 0.15, 0.2, 0.1) == pytest.approx(figures)
    assert judge_prediction(seen[1:3]) is None


def test_lost_and_repeated_windows_are_counted():
    assert (0, 0) == lost_and_repeated([window(i) for i in range(5)], 5)
    assert (2, 1) == lost_and_repeated([window(i) for i in (0, 1, 1)], 4)


def test_phase_leaves_its_first_twenty_windows_to_settling():
    """22 bad windows, then 18 at 0.11 s with the best plan: two bad ones are in the mean."""
    windows = [window(i, C, 0.5) for i in range(22)]
    windows += [window(i, A, 0.11, predicted_s=0.1) for i in range(22, 40)]
    phase = judge_phase(windows, FIXED, "latency", lambda w: w.latency_s)
    assert (A, 0.1, 20, 22, 1) == (
        phase.best, phase.best_cost, phase.windows, phase.settled_after, phase.switches,
    )  # fmt: skip
    assert (2 * 0.5 + 18 * 0.11) / 20 == pytest.approx(phase.live_cost)
    assert phase.live_cost / 0.1 - 1 == pytest.approx(phase.regret)
    assert 0.1 == pytest.approx(phase.median_regret)
    assert 0.2 * 19 + 0.11 == pytest.approx(phase.seconds)
    assert {"0 int8": 0.9, "2 float32": 0.1} == phase.shares
    assert phase.prediction is not None
    assert 0.1 / 0.11 - 1 == pytest.approx(phase.prediction.bias)


def test_energy_is_cpu_time_and_the_radio_at_the_rate_that_was_given():
    """By hand: 400 B with 200 and 94 of headers after 2 ms; 0.15 W a core, 0.322 W receiving."""
    prices = Prices(read_device_profile(DEVICE), read_link_profile(LINK))
    air_s = 8 * 694 / 65e6
    radio_j = 0.594 * air_s + 0.322 * (0.002 + 8 * 694 / 80e3 - air_s)
    sent = window(0, carried_bytes=540, carried_s=0.054)
    assert 0.15 * 0.02 + radio_j == pytest.approx(prices.edge_j(sent))
    probed = window(0, carried_bytes=540 + 400, carried_s=0.094)
    probe_j = radio_j - 0.322 * 8 * 200 / 80e3 - (0.594 - 0.322) * 8 * 200 / 65e6
    assert 0.15 * 0.02 + radio_j + probe_j == pytest.approx(prices.edge_j(probed))
    here = Window(0.0, 0, C, "edge", 0.25, 0.2, 0.05, 0, 400)
    assert 0.15 * 0.25 == pytest.approx(prices.edge_j(here))
    call_j = probe_j - 0.322 * 8 * 342 / 80e3 - (0.594 - 0.322) * 8 * 342 / 65e6
    called = msgspec.structs.replace(here, carried_bytes=58, carried_s=0.0058)
    assert 0.15 * 0.25 + call_j == pytest.approx(prices.edge_j(called))


def test_grid_has_the_links_that_were_asked_for():
    links = grid()
    assert 60 <= len(links) == len(set(links))
    assert {"steady", "noisy", "stepping"} == {link.kind for link in links}
    every = weathers(links)
    assert (20e3, 100e6) == (min(w.rate for w in every), max(w.rate for w in every))
    assert (1e-3, 0.2) == (min(w.round_trip_s for w in every), max(w.round_trip_s for w in every))
    assert (links[0], links[-1]) == (reduced(links, 12)[0], reduced(links, 12)[-1])


def test_noise_repeats_and_keeps_its_mean_rate():
    weather = Weather(1e6, 0.1, seed=4)
    trace, again = weather.trace(), weather.trace()
    states = [trace(0.25 * i) for i in range(16)]
    assert states == [again(0.25 * i + 4.0) for i in range(16)]
    assert 1e6 == pytest.approx(sum(s.up_bits_per_s for s in states) / 16)
    assert len({s.delay_s for s in states}) > 10
    assert all(0.05 <= s.delay_s <= 0.06 for s in states)


def test_stepping_link_goes_from_phase_to_phase():
    link = Link("stepping", (Weather(1e6, 0.1), Weather(2e6, 0.2)))
    trace = link.trace()
    assert [1e6, 2e6, 2e6] == [trace(t).up_bits_per_s for t in (0.0, STEP_S, 9 * STEP_S)]
