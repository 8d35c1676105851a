"""Preference, trial, dwell and herds, on a clock of their own and without a network."""

import random
from collections import Counter
from dataclasses import dataclass

import pytest

from edge_agent.fog_check import Tail
from edge_agent.fog_client import FogClient
from edge_agent.lane import Lane, Request
from edge_agent.lanes import PAUSE_JITTER, REFUSED_S, Lanes, Policy
from headtail.errors import FogUnavailable, ModelNotFound, NotAllowed, Overloaded, RequestInvalid

TAIL = Tail("t", "1", (), "b", "d")
AWAY = FogUnavailable("x", "away")
POLICY = Policy(first_s=0.2, cap_s=5.0, max_misses=3, dwell_s=10.0)


@dataclass
class Wire:
    """A stream that goes nowhere, and remembers that it was half-closed."""

    is_finished: bool = False

    def finish(self) -> None:
        """Half-close."""
        self.is_finished = True


def make(fogs: int, seed: int = 1) -> Lanes:
    """Return the lanes to so many fogs."""
    clients = [FogClient(f"f{i}:1", TAIL, 1.0) for i in range(fogs)]
    return Lanes(clients, POLICY, random.Random(seed))


def connect(lanes: Lanes, now_s: float) -> Lane:
    """Let the fog whose turn it is be connected."""
    fog, _ = lanes.next_turn(now_s)
    assert fog is not None
    fog.breaker.try_now()
    return lanes.adopt(fog, Wire(), now_s)


def give(lane: Lane) -> None:
    """Send something on a lane."""
    lane.pending["r"] = Request("r", b"", 0.0, 1.0)


def test_the_first_fog_is_tried_first_and_the_second_when_it_fails():
    lanes = make(2)
    first, _ = lanes.next_turn(0.0)
    lanes.not_connected(first, AWAY, 0.0)
    second, _ = lanes.next_turn(0.0)
    assert [0, 1] == [first.rank, second.rank]
    assert not lanes.has_tried
    lanes.not_connected(second, AWAY, 0.0)
    assert lanes.has_tried


def test_a_fog_in_use_is_left_for_a_better_one_after_the_dwell_and_a_trial():
    lanes = make(2)
    lanes.not_connected(lanes.next_turn(0.0)[0], AWAY, 0.0)
    second = connect(lanes, 0.0)
    assert (None, 10.0) == lanes.next_turn(9.9)
    trial = connect(lanes, 10.0)
    assert (second, trial) == (lanes.active, lanes.trial)
    assert trial is lanes.next_lane()  # one window
    give(trial)
    assert second is lanes.next_lane()  # and the others as before
    lanes.prove(trial, 10.5)
    assert (trial, None) == (lanes.active, lanes.trial)
    assert second.stream.is_finished
    assert {"failover": 0, "return": 1} == dict(lanes.counts.switches)


def test_a_trial_that_fails_leaves_the_fog_in_use_alone():
    lanes = make(2)
    lanes.not_connected(lanes.next_turn(0.0)[0], AWAY, 0.0)
    second = connect(lanes, 0.0)
    trial = connect(lanes, 10.0)
    lanes.step_down(trial, "silent", AWAY, 11.0)
    assert (second, second) == (lanes.active, lanes.next_lane())
    fog, again_s = lanes.next_turn(11.0)
    assert fog is None
    assert again_s >= 21.0  # a dwell to mend, and twice the dwell here


def test_while_one_fog_is_on_trial_another_serves():
    lanes = make(2)
    lanes.step_down(connect(lanes, 0.0), "silent", AWAY, 1.0)
    lanes.not_connected(lanes.next_turn(2.0)[0], AWAY, 2.0)  # the second is away
    trial = connect(lanes, 12.0)
    assert (0, trial) == (trial.fog.rank, lanes.trial)
    second = connect(lanes, 12.0)
    assert (1, second, trial) == (second.fog.rank, lanes.active, lanes.trial)
    give(trial)
    assert second is lanes.next_lane()
    lanes.prove(trial, 13.0)
    assert (trial, None, True) == (lanes.active, lanes.trial, second.stream.is_finished)


def test_a_worse_fog_that_connects_too_late_is_closed_again():
    lanes = make(2)
    lanes.step_down(connect(lanes, 0.0), "silent", AWAY, 1.0)
    lanes.not_connected(lanes.next_turn(2.0)[0], AWAY, 2.0)
    trial = connect(lanes, 12.0)
    second, _ = lanes.next_turn(12.0)
    lanes.prove(trial, 12.5)
    late = lanes.adopt(second, Wire(), 13.0)
    assert (trial, None, True) == (lanes.active, lanes.trial, late.stream.is_finished)


def test_a_fog_left_for_not_answering_gets_one_window_at_a_time():
    lanes = make(1)
    lanes.step_down(connect(lanes, 0.0), "missed", AWAY, 1.0)
    trial = connect(lanes, 20.0)
    assert (None, trial, trial) == (lanes.active, lanes.trial, lanes.next_lane())
    give(trial)
    assert lanes.next_lane() is None
    lanes.prove(trial, 21.0)
    assert trial is lanes.active


def test_a_fog_that_comes_and_goes_is_not_followed():
    """An hour of a preferred fog that dies two seconds after each return: a handful of returns."""
    lanes, returns, now_s = make(2), 0, 0.0
    while now_s < 3600.0:
        fog, again_s = lanes.next_turn(now_s)
        if fog is None:
            now_s = again_s
            continue
        fog.breaker.try_now()
        lane = lanes.adopt(fog, Wire(), now_s)
        lanes.prove(lane, now_s)
        if fog.rank == 0:
            returns += 1
            now_s += 2.0
            lanes.step_down(lane, "broken", AWAY, now_s)
    assert 5 <= returns <= 18


def test_agents_come_back_to_a_fog_spread_out():
    """A thousand lose a fog that is back after 30 s; no 0.1 s sees a twentieth of them."""
    arrivals: Counter[int] = Counter()
    for seed in range(1000):
        lanes, now_s = make(1, seed), 0.0
        lanes.step_down(connect(lanes, 0.0), "broken", AWAY, 0.0)
        while now_s < 30.0:
            fog, again_s = lanes.next_turn(now_s)
            if fog is None:
                now_s = again_s
            else:
                lanes.not_connected(fog, AWAY, now_s)
        arrivals[int(now_s * 10)] += 1
    assert max(arrivals.values()) < 50


def test_agents_come_to_the_next_fog_spread_out():
    """Though nothing is wrong with it, nobody comes to it at once."""
    seconds = []
    for seed in range(200):
        lanes = make(2, seed)
        lanes.step_down(connect(lanes, 0.0), "broken", AWAY, 0.0)
        fog, again_s = lanes.next_turn(0.0)
        assert fog is None
        seconds.append(again_s)
    assert max(seconds) <= POLICY.first_s
    assert all(sum(i / 20 <= s < (i + 1) / 20 for s in seconds) > 30 for i in range(4))


def test_pauses_are_kept_and_do_not_end_together():
    ends = set()
    for seed in range(50):
        lanes = make(1, seed)
        lane = connect(lanes, 0.0)
        assert "" == lanes.pause(lane, Overloaded("x", "full", 4.0), 100.0)
        ends.add(lane.paused_until_s)
    assert 50 == len(ends)
    assert all(104.0 <= end <= 104.0 + 4.0 * PAUSE_JITTER for end in ends)


def test_the_later_of_two_pauses_counts():
    """Windows on their way were refused too, each with what it would have had to wait."""
    lanes = make(1)
    lane = connect(lanes, 0.0)
    lanes.pause(lane, Overloaded("x", "full", 8.0), 0.0)
    lanes.pause(lane, Overloaded("x", "full", 1.0), 1.0)
    assert lane.paused_until_s >= 8.0


def test_a_long_pause_is_spent_with_another_fog():
    lanes = make(2)
    lane = connect(lanes, 0.0)
    error = Overloaded("x", "full", 60.0)
    assert "overloaded" == lanes.pause(lane, error, 0.0)
    lanes.leave(lane, "overloaded", error, 0.0)
    assert lane.stream.is_finished
    assert 1 == connect(lanes, 1.0).fog.rank
    assert lane.fog.breaker.not_before_s >= 60.0


def test_one_fog_that_refuses_is_set_aside_and_said_once(caplog):
    lanes = make(2)
    first, _ = lanes.next_turn(0.0)
    for now_s in (0.0, 100.0):
        lanes.not_connected(first, ModelNotFound("m", "1"), now_s)
    assert 1 == caplog.text.count("fog set aside")
    assert first.breaker.not_before_s >= 100.0 + REFUSED_S
    assert not lanes.is_hopeless
    second, _ = lanes.next_turn(100.0)
    lanes.not_connected(second, RequestInvalid("x", "no"), 100.0)
    assert lanes.is_hopeless


def test_being_denied_never_ends_a_run():
    """The allow list may be mended while we run."""
    lanes = make(1)
    lanes.not_connected(lanes.next_turn(0.0)[0], NotAllowed("x", "no"), 0.0)
    assert not lanes.is_hopeless
    assert 1 == lanes.counts.attempts["denied"]


def test_a_fog_that_takes_us_and_throws_us_out_is_not_announced_each_time(caplog):
    """Full fogs end the stream after it was opened."""
    caplog.set_level("INFO")
    lanes, now_s = make(1), 0.0
    for _ in range(5):
        lane = connect(lanes, now_s)
        lanes.step_down(lane, "overloaded", Overloaded("x", "64 streams are open", 1.0), now_s)
        now_s += 100.0
    lanes.prove(connect(lanes, now_s), now_s)
    said = [r.getMessage().split(":")[0] for r in caplog.records]
    assert ["fog connected", "fog lost", "fog back"] == said


@pytest.mark.parametrize("reason", ["broken", "draining"])
def test_half_closed_lanes_do_not_count_twice(reason):
    lanes = make(1)
    lane = connect(lanes, 0.0)
    lanes.leave(lane, reason, None, 1.0)
    assert not lanes.step_down(lane, "broken", AWAY, 2.0)
    assert {reason: 1} == {k: v for k, v in lanes.counts.losses.items() if v}
