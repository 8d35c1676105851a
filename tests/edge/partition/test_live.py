"""The whole choice in a simulated world, against the best option found by trying them all."""

import math
from collections.abc import Sequence
from itertools import pairwise
from types import SimpleNamespace

import pytest

from edge_agent.partition.choose import Objective
from edge_agent.partition.live import LivePartition, LiveSettings
from edge_agent.partition.offer import Option
from edge_agent.partition.probing import BURST
from partition_world import Seen, Weather, World, noisy, regret, steady, stepping

SETTLING = 20
"""Windows."""
STEADY = [(r, s) for r in (2e4, 4e5, 5e6, 1e8) for s in (0.001, 0.04, 0.2)]


def changes(seen: Sequence[Seen]) -> int:
    """Return how often the option changed."""
    return sum(a.option != b.option for a, b in pairwise(seen))


def error(seen: Sequence[Seen]) -> float:
    """Return the mean absolute error of the predictions, as a share of what was seen."""
    return sum(abs(s.predicted_s / s.latency_s - 1) for s in seen) / len(seen)


@pytest.mark.parametrize(("rate", "round_trip_s"), STEADY)
def test_steady_link(begin, options: Sequence[Option], rate: float, round_trip_s: float) -> None:
    """Settled: at most 5 % above the best, one change a minute, predictions within a tenth."""
    world = World(steady(rate, round_trip_s))
    live = begin(world)
    after = world.run(live, 200)[SETTLING:]
    assert regret(world, options, after) <= 0.05
    assert changes(after) <= math.ceil((after[-1].began_s - after[0].began_s) / 60.0)
    assert error(after) <= 0.1


@pytest.mark.parametrize("first", [0, 12])
@pytest.mark.parametrize(("rate", "round_trip_s"), [(r, s) for r, s in STEADY if r > 2e4])
def test_first_window_waits_for_probes_and_no_longer(
    begin, rate: float, round_trip_s: float, first: int
) -> None:
    """Whether they tell all there is to know, or nothing that matters."""
    world = World(steady(rate, round_trip_s))
    live = begin(world, first=first)
    live.connected(lambda plan: True, world.ping)
    assert not live._is_known.is_set()
    world.advance(world.now_s + 0.2 + BURST * 2.0 * round_trip_s)
    assert live._is_known.is_set()


def test_first_window_does_not_wait_where_nothing_is_to_be_chosen(options, meter) -> None:
    """More knowledge could change nothing: no probe follows the first one."""
    world = World(steady(1e6, 0.01))
    live = LivePartition(options[:1], options[0].plan, meter, LiveSettings(), world.clock)
    live.connected(lambda plan: True, world.ping)
    assert not live._is_known.is_set()
    world.advance(world.now_s + 0.1)
    assert live._is_known.is_set()


STEPS = [
    ((1e8, 0.001), (2e5, 0.001)),
    ((2e5, 0.001), (1e8, 0.001)),
    ((1e8, 0.001), (2e4, 0.01)),
    ((2e4, 0.01), (1e8, 0.001)),
    ((1e7, 0.001), (1e7, 0.2)),
    ((1e7, 0.2), (1e7, 0.001)),
    ((1e7, 0.01), (6e5, 0.04)),
    ((1e8, 0.1), (6e5, 0.001)),
]


@pytest.mark.parametrize(("before", "after"), STEPS)
def test_link_that_steps(begin, options: Sequence[Option], before, after) -> None:
    """Settled again within 20 windows, or twice as many where none went to the fog."""
    world = World(stepping(Weather(*before), Weather(*after)))
    seen = world.run(begin(world), 400)
    later = [s for s in seen if s.began_s - world.start_s >= 12.0]
    assert regret(world, options, later[2 * SETTLING : 6 * SETTLING]) <= 0.05
    assert later[0].began_s < later[-1].began_s


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(("rate", "round_trip_s"), [(2e5, 0.04), (6e5, 0.01), (2e6, 0.1)])
def test_noisy_link(begin, options, rate: float, round_trip_s: float, seed: int) -> None:
    """No plan is much better than another for a quarter of a second, so all is held for means."""
    world = World(noisy(rate, round_trip_s, seed), seed)
    after = world.run(begin(world), 300)[SETTLING:]
    best = min(sum(world.cost_s(o, s.began_s) for s in after) for o in options)
    assert sum(s.latency_s for s in after) <= 1.07 * best
    assert changes(after) <= 2 + (after[-1].began_s - after[0].began_s) / 20.0
    assert error(after) <= 0.15


def test_device_that_gets_hot_sends_more(begin, options: Sequence[Option]) -> None:
    """Heads four times as slow: what was best on the edge goes to the fog."""
    cool, hot = Weather(1e5, 0.1), Weather(1e5, 0.1, heat=4.0)
    world = World(stepping(cool, hot))
    seen = world.run(begin(world), 300)
    before = [s for s in seen if s.began_s - world.start_s < 12.0][-1]
    assert options[before.option].plan.is_local
    assert not options[seen[-1].option].plan.is_local
    assert regret(world, options, seen[-100:]) <= 0.05


def test_fog_with_a_queue_is_left_and_tried_again(begin, options: Sequence[Option]) -> None:
    """While nothing is sent nobody tells that the queue is gone: a window goes to see."""
    free, busy = Weather(1e7, 0.01), Weather(1e7, 0.01, queue_s=1.0)
    world = World(lambda s: busy if 6.0 <= s < 20.0 else free)
    live = begin(world)
    seen = world.run(live, 600)
    while_busy = [s for s in seen if 12.0 <= s.began_s - world.start_s < 20.0]
    assert sum(not options[s.option].plan.is_local for s in while_busy) <= 1
    assert not options[seen[-1].option].plan.is_local
    assert live.switches["explore"] >= 1


def test_probes_are_rare(begin) -> None:
    """All on the edge for minutes: no more than a call a second, and little of the link's time."""
    world = World(steady(2e4, 0.05))
    live = begin(world)
    seen = world.run(live, 500)
    lasted_s = seen[-1].began_s - seen[0].began_s
    assert live.probing.made <= 6 + lasted_s
    assert world.probe_bits / 2e4 <= 0.1 * lasted_s


def test_energy_objective_takes_what_costs_least(begin, options: Sequence[Option]) -> None:
    """By the estimates that the world is known to have."""
    world = World(steady(1e6, 0.02))
    live = begin(world, Objective("edge_energy"))
    world.run(live, 200)
    energy_j = live.state().costs.energy_j
    assert energy_j[live.state().current] <= 1.05 * energy_j.min()


def test_only_what_the_fog_serves_is_chosen(begin, options: Sequence[Option]) -> None:
    """Another fog may have few of the tails, and takes nothing compressed."""
    world = World(steady(1e8, 0.001))
    live = begin(world)
    world.run(live, 30)
    live.connected(lambda plan: plan.point.index == 2 and not plan.compression, world.ping)
    plans = [live.next_plan(0.0) for _ in range(3)]
    assert all(p.is_local or (p.point.index == 2 and not p.compression) for p in plans)


@pytest.mark.parametrize(("objective", "rate"), [("latency", 1.6e4), ("edge_energy", 2e3)])
def test_a_quick_link_far_away_after_a_slow_one_near_by(begin, objective: str, rate: float) -> None:
    """Calls without bits take as long on both; what may be sent does not."""
    probe_bits = 8.0 * 58
    slow = Weather(rate, 0.001)
    quick = Weather(6e5, slow.round_trip_s + probe_bits / rate - probe_bits / 6e5)
    world = World(stepping(quick, slow, quick, seconds=20.0), probe_bytes=58)
    live = begin(world, Objective(objective))
    seen = world.run(live, 500)
    began_s = [s.began_s - seen[0].began_s for s in seen]
    options = live.predictor.options
    here = [options[s.option].plan.is_local for s in seen]
    assert not any(h for h, t in zip(here, began_s, strict=True) if 5.0 < t < 20.0)
    assert all(h for h, t in zip(here, began_s, strict=True) if 30.0 < t < 40.0)
    back = [h for h, t in zip(here, began_s, strict=True) if t > 40.0][SETTLING:]
    assert len(back) > 10
    assert not any(back)


def test_a_stream_on_trial_is_listened_to(begin, options: Sequence[Option]) -> None:
    """After a silence a fog must answer a window before it counts; none is sent it unasked."""
    world = World(steady(1e8, 0.001))
    live = begin(world, first=len(options) - 1)
    stream = SimpleNamespace(serves=lambda name: True, is_ours=True, ping=world.ping)
    lanes = SimpleNamespace(active=None, trial=SimpleNamespace(stream=stream))
    live.follow(SimpleNamespace(lanes=lanes))
    assert live.next_plan(0.0).is_local
    world.advance(world.now_s + 1.0)
    assert live.uplink.estimate.samples
    assert not live.next_plan(0.0).is_local


@pytest.mark.parametrize("round_trip_s", [0.005, 0.02])
@pytest.mark.parametrize("rate", [1e6, 1e8])
@pytest.mark.parametrize("start_s", [0.0, 6.0])
def test_load_on_the_fog_is_forgotten(begin, options, start_s, rate, round_trip_s) -> None:
    """Tails forty times as slow for a second and a half, be it the first one: soon back."""
    well = Weather(rate, round_trip_s)
    busy = Weather(rate, round_trip_s, load=40.0)
    world = World(lambda s: busy if start_s <= s < start_s + 1.5 else well)
    seen = world.run(begin(world), 200)
    after = [s for s in seen if s.began_s - world.start_s >= start_s + 1.5][SETTLING:]
    assert regret(world, options, after) <= 0.05
    assert changes(after) <= 1


@pytest.mark.parametrize("name", ["latency", "edge_energy"])
def test_plan_that_misses_its_deadline_is_left(begin, options, name) -> None:
    """Nothing is answered in time any more: nobody waits to know by how much."""
    world = World(stepping(Weather(1e8, 0.001), Weather(5e3, 0.01)), deadline_s=1.0)
    seen = world.run(begin(world, Objective(name)), 400)
    later = [s for s in seen if s.began_s - world.start_s >= 12.0]
    assert sum(not options[s.option].plan.is_local for s in later[SETTLING:]) <= 0.02 * len(later)


@pytest.mark.parametrize(("rate", "round_trip_s"), [(1e6, 0.005), (1e8, 0.02), (2e5, 0.001)])
def test_fog_of_which_nothing_was_heard_is_tried(begin, options, rate, round_trip_s) -> None:
    """The agent begins on the edge; the link is good, and how good the fog is nobody knows."""
    world = World(steady(rate, round_trip_s))
    live = begin(world, first=len(options) - 1)
    after = world.run(live, 100)[SETTLING:]
    assert regret(world, options, after) <= 0.05


def test_late_answer_is_the_links_fault_where_the_link_is_slow(begin, options) -> None:
    """The fog is not held to fail one window in five for it: what pays off goes there again."""
    quick, slow = Weather(1e8, 0.05), Weather(5e4, 0.002)
    world = World(stepping(quick, slow), deadline_s=1.0)
    live = begin(world)
    seen = world.run(live, 300)
    later = [s for s in seen if s.began_s - world.start_s >= 12.0]
    assert any(s.latency_s > 1.0 for s in seen)
    assert live.fog.failed_ratio < 0.02
    assert regret(world, options, later[2 * SETTLING :]) <= 0.05


def test_late_answer_is_the_fogs_fault_where_the_link_is_quick(begin, options) -> None:
    """Probes tell that it is: its failures are remembered."""
    free, busy = Weather(1e7, 0.01), Weather(1e7, 0.01, queue_s=2.0)
    world = World(stepping(free, busy), deadline_s=1.0)
    live = begin(world)
    seen = world.run(live, 250)
    assert any(s.latency_s > 1.0 for s in seen)
    assert live.fog.failed_ratio >= 0.5
