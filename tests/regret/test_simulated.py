"""The live choice in simulated time, held to the grid's limits on links of the grid."""

import math
from collections.abc import Iterator, Sequence

import numpy as np
import pytest

import regret_work
from headtail.bundle import read_bundle
from headtail.bundle.keys import read_trust
from headtail.profile import read_device_profile, read_link_profile
from proxy_link import LinkProxy, LinkState
from regret_analysis import (
    GOOD_RUN,
    Fixed,
    Phase,
    best_of,
    good_plans,
    judge_phase,
    lost_and_repeated,
)
from regret_bundle import write_regret_bundle
from regret_cost import OBJECTIVES, Prices, Window
from regret_device import DEVICE, LINK
from regret_links import KBIT, MBIT, STEP_S, Link, Weather, grid
from regret_results import REGRET_LIMIT, SETTLE_LIMIT
from regret_run import DEADLINE_S, PERIOD_S, Site
from regret_work import MISSED, measure_fixed, measure_live
from simulated_link import Lag, SimulatedLink, SimulatedTime
from simulated_run import SimulatedAgents, SimulatedRun

LINKS = (
    "64 kbit/s, 40 ms",
    "200 kbit/s, 10 ms",
    "600 kbit/s, 100 ms",
    "2 Mbit/s, 40 ms",
    "10 Mbit/s, 10 ms",
    "64 kbit/s, 40 ms, noisy",
    "600 kbit/s, 10 ms, noisy",
    "2 Mbit/s, 10 ms, noisy",
    "10 Mbit/s, 40 ms, noisy",
    "10 Mbit/s, 10 ms -> 600 kbit/s, 40 ms",
    "600 kbit/s, 40 ms -> 10 Mbit/s, 10 ms",
    "64 kbit/s, 40 ms -> 2 Mbit/s, 40 ms",
    "2 Mbit/s, 1 ms -> 200 kbit/s, 100 ms -> 2 Mbit/s, 1 ms",
    "10 Mbit/s, 40 ms -> 2 Mbit/s, 100 ms",
)
"""Of the grid; on others chance decides more."""
SLOW = LinkState(80 * KBIT, 320 * KBIT, 0.05)


class NoLag(Lag):
    """Adds nothing."""

    def __init__(self) -> None:
        """Draw nothing."""

    def draw(self, mean_s: float) -> float:
        """Return 0."""
        return 0.0


class Simulation:
    """The grid's measurements, in simulated time."""

    def __init__(self, agents: SimulatedAgents, site: Site) -> None:
        self.agents = agents
        self._site = site
        self._costs: dict[Weather, list[Fixed]] = {}

    def costs(self, weather: Weather) -> list[Fixed]:
        """Return what every fixed plan costs in a weather."""
        if weather not in self._costs:
            self._costs[weather] = [run.fixed for run in measure_fixed(self._site, weather)]
        return self._costs[weather]

    def phases(self, link: Link, objective: str) -> list[Phase]:
        """Return what a live run did in each phase of a link."""
        run = measure_live(self._site, link, objective)
        assert (0, 0) == lost_and_repeated(run.windows, run.sent)
        prices = Prices(read_device_profile(DEVICE), read_link_profile(LINK))
        last = len(link.phases) - 1
        return [
            judge_phase(
                [w for w in run.windows if min(last, int(w.began_s / STEP_S)) == i],
                self.costs(weather),
                objective,
                lambda w: prices.cost(w, objective),
            )
            for i, weather in enumerate(link.phases)
        ]


@pytest.fixture(scope="module")
def simulation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulation]:
    """Return the grid's measurements with simulated agents in them."""
    bundle, trust = write_regret_bundle(tmp_path_factory.mktemp("sim"), np.random.default_rng(1))
    agents = SimulatedAgents(read_bundle(bundle, read_trust(trust)), seed=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(regret_work, "_agents", lambda site: agents)
        yield Simulation(agents, Site(bundle, trust, ""))


@pytest.fixture
def agents(simulation: Simulation) -> SimulatedAgents:
    """Return the agents alone."""
    return simulation.agents


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("name", LINKS)
def test_regret_is_small_and_choice_settles(
    simulation: Simulation, name: str, objective: str
) -> None:
    link = next(link for link in grid() if link.name == name)
    for phase in simulation.phases(link, objective):
        assert phase.regret <= REGRET_LIMIT, phase
        assert phase.settled_after is not None, phase
        assert phase.settled_after <= SETTLE_LIMIT, phase


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize(
    "near",
    [Weather(20 * KBIT, 0.010), Weather(20 * KBIT, 0.048), Weather(30 * KBIT, 0.070)],
    ids=lambda weather: weather.name,
)
def test_quick_link_far_away_is_noticed_within_a_minute(
    simulation: Simulation, near: Weather, objective: str
) -> None:
    """An empty call takes about as long on both, on the second link exactly."""
    far = Weather(9 * MBIT, 0.071)
    link = Link("stepping", (near, far))
    windows, _ = simulation.agents.run_live(
        link.trace(), objective, lambda seen: bool(seen) and seen[-1].began_s >= STEP_S + 60.0
    )
    good = good_plans(simulation.costs(far), objective)
    before = [w.plan for w in windows if w.began_s < STEP_S]
    assert not good & set(before[-GOOD_RUN:])
    assert {True} == {w.plan in good for w in windows[-GOOD_RUN:]}


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_window_is_answered_in_time_or_finished_here(
    agents: SimulatedAgents, objective: str
) -> None:
    """The link slows down so that messages under way miss their deadlines."""
    fast, slow = Weather(100 * MBIT, 0.001).trace(), Weather(20 * KBIT, 0.2).trace()
    windows, sent = agents.run_live(
        lambda now_s: fast(now_s) if now_s < 3.0 else slow(now_s),
        objective,
        lambda seen: len(seen) >= 60,
    )
    assert list(range(sent)) == [w.sequence for w in windows]
    late = [w for w in windows if w.fallback is not None]
    assert late
    for window in late:
        assert ("deadline", "edge") == (window.fallback, window.where)
        assert window.tail_s == agents.options[window.plan].tail_s
        assert DEADLINE_S + window.tail_s == pytest.approx(window.latency_s)
    assert all(w.latency_s <= DEADLINE_S for w in windows if w.where == "fog")
    assert all(w.network_s is not None for w in windows if w.where == "fog")
    ends = [w.began_s + w.latency_s for w in windows]
    assert all(w.began_s >= end for w, end in zip(windows[1:], ends, strict=False))


def test_plan_that_misses_its_deadline_has_no_price(simulation: Simulation) -> None:
    """At 20 kbit/s 49 KB take 20 s: that plan is never the best."""
    costs = simulation.costs(Weather(20 * KBIT, 0.01))
    missed = [f for f in costs if f.plan == (0, "float32", "")]
    assert [MISSED] == [f.left for f in missed]
    assert {math.inf} == {cost for f in missed for cost in f.costs.values()}
    assert MISSED not in {best_of(costs, o).left for o in OBJECTIVES}


def test_two_runs_are_equal(agents: SimulatedAgents) -> None:
    link = next(link for link in grid() if link.name == LINKS[-3])

    def run() -> Sequence[Window]:
        return agents.run_live(link.trace(), "latency", lambda seen: len(seen) >= 150)[0]

    assert run() == run()


def test_messages_queue_for_the_rate_and_not_for_the_delay() -> None:
    """By hand: 1000 B take 100 ms at 80 kbit/s, 500 B after them 50 ms; both 50 ms of delay."""
    time = SimulatedTime()
    link = SimulatedLink(lambda now_s: SLOW, time, NoLag())
    assert 0.15 == pytest.approx(link.carry("up", 1000) - time.now_s)
    assert 0.20 == pytest.approx(link.carry("up", 500) - time.now_s)
    assert 0.075 == pytest.approx(link.carry("down", 1000) - time.now_s)
    time.advance(time.now_s + 1.0)
    assert 0.15 == pytest.approx(link.carry("up", 1000) - time.now_s)
    assert 2500 == link.taken_bytes["up"]
    assert 0.25 == pytest.approx(link.busy_s["up"])


def test_long_message_meets_the_rate_that_comes() -> None:
    """By hand: 1460 B take 146 ms at 80 kbit/s, the next 1460 B half of it at twice the rate."""
    quick = LinkState(160 * KBIT, 320 * KBIT, 0.01)
    time = SimulatedTime()
    link = SimulatedLink(lambda now_s: SLOW if now_s < 0.1 else quick, time, NoLag())
    assert 0.146 + 0.073 + 0.01 == pytest.approx(link.carry("up", 2920) - time.now_s)


def test_later_messages_never_overtake() -> None:
    near = LinkState(80 * KBIT, 320 * KBIT, 0.0)
    time = SimulatedTime()
    link = SimulatedLink(lambda now_s: SLOW if now_s < 0.01 else near, time, NoLag())
    first_s = link.carry("up", 100)
    assert 0.06 == pytest.approx(first_s - time.now_s)
    assert first_s == link.carry("up", 100)


def test_link_agrees_with_the_proxy() -> None:
    rng = np.random.default_rng(2)
    states = [LinkState(rate, 4 * rate, 0.02) for rate in (50e3, 200e3, 1e6, 80e3)]
    time = SimulatedTime()

    def trace(now_s: float) -> LinkState:
        return states[int(now_s / 0.25) % len(states)]

    link = SimulatedLink(trace, time, NoLag())
    with LinkProxy("127.0.0.1:1", trace, time.clock) as proxy:
        for size in rng.integers(1, 1460, 200).tolist():
            assert proxy.due_s("up", size, time.now_s) == link.carry("up", size)
            time.advance(time.now_s + 0.05 * rng.exponential())
    assert (proxy.taken_bytes, proxy.busy_s) == (link.taken_bytes, link.busy_s)


def test_empty_calls_pay_for_headers_once() -> None:
    """By hand: 200 or 58 B up, 40 B down, twice 50 ms of delay, 0.6 ms in the fog."""
    time = SimulatedTime()
    link = SimulatedLink(lambda now_s: SLOW, time, NoLag())
    took_s: list[float | None] = []
    for padding in (0, 100):
        link.call(padding, took_s.append)
        time.advance(time.now_s + 1.0)
    both_s = 0.1 + 0.0006 + 8 * 40 / 320e3
    expected = [both_s + 8 * 200 / 80e3, both_s + 8 * (58 + 100) / 80e3]
    assert expected == pytest.approx(took_s)


def test_fixed_plan_takes_what_its_parts_take(agents: SimulatedAgents) -> None:
    """By hand: head, encoding and hand-over 0.2 ms, fog 1.42 ms, delivery 0.1 ms, and the way."""
    option = agents.options[4, "int8", ""]
    run = SimulatedRun(lambda now_s: SLOW, agents.options, DEADLINE_S, NoLag())
    first, second = (run.window(option.plan, i) for i in range(2))
    way_s = 8 * (option.message_bytes + 40) / 80e3 + 8 * 150 / 320e3 + 0.1
    by_hand_s = option.head_s + 0.0002 + way_s + 0.00142 + 0.0001
    assert by_hand_s == pytest.approx(first.latency_s) == pytest.approx(second.latency_s)
    assert (option.message_bytes + 40, "fog") == (first.carried_bytes, first.where)
    assert 8 * (option.message_bytes + 40) / 80e3 == pytest.approx(first.carried_s)
    assert max(by_hand_s, PERIOD_S) == pytest.approx(second.began_s - first.began_s)


def test_local_plan_takes_what_the_device_takes(agents: SimulatedAgents) -> None:
    """A quarter of a second less 20 ms, by the profile; the next window follows at once."""
    option = agents.options[5, "float32", ""]
    run = SimulatedRun(lambda now_s: SLOW, agents.options, DEADLINE_S, NoLag())
    first, second = (run.window(option.plan, i) for i in range(2))
    assert option.head_s + option.tail_s == pytest.approx(first.latency_s)
    assert 0.23 == pytest.approx(first.latency_s, abs=0.005)
    assert (0, "edge", None) == (first.carried_bytes, first.where, first.network_s)
    assert first.latency_s == pytest.approx(second.began_s)
