"""The verdict on a canary, and how reports become the numbers that it rests on."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fog_server.rollout.database import TailCounts
from fog_server.rollout.judge import Evidence, Verdict, is_beyond, judge
from fog_server.rollout.measurements import Agent, Counts, Report, Trial, learn
from fog_server.rollout.rules import Rules

RULES = Rules(bake_s=60.0, min_windows=100, min_shadows=50)
GOOD = Counts(windows=1000, energy_j=1.0, latency_s=10.0)


def evidence(
    canary: Counts = GOOD, active: Counts = GOOD, age_s: float = 100.0, **fields: object
) -> Evidence:
    """Return the evidence of one kind of device."""
    values = {
        "age_s": age_s,
        "canary": {"pi": canary},
        "active": {"pi": active},
        "canary_tail": TailCounts(1000, 0, 100, 100),
        "active_tail": TailCounts(1000),
        "sample_windows": 8,
        "sample_agreed": 8,
        "is_priced_alike": True,
        "faults": (),
    }
    return Evidence(**values | fields)


def test_canary_that_is_as_good_passes_when_it_has_baked():
    assert Verdict.PASSED is judge(RULES, evidence()).verdict
    assert Verdict.BAKING is judge(RULES, evidence(age_s=59.0)).verdict
    few = Counts(windows=99, energy_j=0.099, latency_s=0.99)
    assert Verdict.BAKING is judge(RULES, evidence(few)).verdict


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"canary": Counts(1000, 30, 0, 1.0, 10.0)}, "failed: expected at most 0.01, found 0.029"),
        ({"canary": Counts(1000, 0, 0, 1.0, 12.6)}, "latency: expected at most 0.0125, found 0.01"),
        ({"canary": Counts(1000, 0, 0, 1.2, 10.0)}, "energy: expected at most 0.0011, found 0.001"),
        ({"canary_tail": TailCounts(1000, 20)}, "tail_failed: expected at most 0.01, found 0.02"),
        ({"canary_tail": TailCounts(9, 0, 92, 80)}, "agreement: expected at least 0.9, found 0.88"),
        ({"faults": ("agent a gave it up",)}, "agent a gave it up"),
    ],
    ids=["failed", "latency", "energy", "tail_failed", "agreement", "fault"],
)
def test_worse_canary_fails_and_says_why(changes, reason):
    found = judge(RULES, evidence(**changes))
    assert Verdict.FAILED is found.verdict
    assert found.reason.startswith(reason)


def test_energies_of_other_profiles_are_not_compared():
    """A run that corrected its profiles says nothing bad of the bundle by that."""
    dear = Counts(1000, 0, 0, 50.0, 10.0)
    assert Verdict.FAILED is judge(RULES, evidence(dear)).verdict
    found = judge(RULES, evidence(dear, is_priced_alike=False))
    assert Verdict.PASSED is found.verdict
    (energy,) = [c for c in found.comparisons if c.what == "energy"]
    assert (None, 0.05) == (energy.active, energy.canary)


def test_far_too_slow_canary_need_not_bake():
    slow = Counts(windows=20, latency_s=20 * 0.1)
    found = judge(RULES, evidence(slow, age_s=1.0))
    assert (Verdict.FAILED, True) == (found.verdict, found.reason.startswith("latency"))


def test_few_failures_prove_nothing_yet():
    """Two of twenty are ten times what is allowed, and may be chance; of 200 they are not."""
    few = Counts(windows=18, failed=2)
    assert Verdict.BAKING is judge(RULES, evidence(few, age_s=1.0)).verdict
    many = Counts(windows=180, failed=20)
    assert Verdict.FAILED is judge(RULES, evidence(many, age_s=1.0)).verdict


def test_canary_whose_windows_do_not_come_is_rolled_back():
    found = judge(RULES, evidence(Counts(), age_s=RULES.timeout_s))
    assert Verdict.FAILED is found.verdict
    assert "no verdict in 86400 s: 0 of 100 windows, 86400 of 60 s" == found.reason


@pytest.mark.parametrize("is_needed", [True, False])
def test_agreement_that_cannot_be_had_decides_only_where_it_is_needed(is_needed):
    """It is waited for, as windows are."""
    rules = Rules(bake_s=60.0, needs_agreement=is_needed)
    few = {"canary_tail": TailCounts(1000, 0, 41, 41)}
    expected = Verdict.BAKING if is_needed else Verdict.PASSED
    assert expected is judge(rules, evidence(**few)).verdict
    late = judge(rules, evidence(age_s=rules.timeout_s, **few))
    if is_needed:
        assert late.reason.endswith("86400 of 60 s, 49 of 50 shadowed windows")
    assert (Verdict.FAILED if is_needed else Verdict.PASSED) is late.verdict
    assert Verdict.PASSED is judge(rules, evidence()).verdict


def test_devices_are_compared_with_their_own_kind():
    """A slow device that runs the canary is held against slow ones, not against the fast."""
    slow, fast = Counts(500, latency_s=500.0), Counts(5000, latency_s=5.0)
    found = judge(
        RULES,
        evidence()._replace(canary={"zero": slow}, active={"zero": slow, "pi5": fast}),
    )
    assert Verdict.PASSED is found.verdict
    other = judge(RULES, evidence()._replace(canary={"zero": slow}, active={"pi5": fast}))
    latency = next(c for c in other.comparisons if c.what == "latency")
    assert (None, math.inf) == (latency.active, latency.limit)


@pytest.mark.parametrize(("count", "total"), [(1, 1), (2, 20), (3, 50), (20, 200), (5, 1000)])
def test_what_is_beyond_chance_is_so_by_the_binomial_too(count, total):
    """The bound never says so where the exact tail of the binomial is over one in a thousand."""
    tail = sum(math.comb(total, k) * 0.01**k * 0.99 ** (total - k) for k in range(count, total + 1))
    assert not is_beyond(count, total, 0.01) or tail < 1e-3


def test_share_beyond_chance():
    """By hand for 20 of 200 at 1 %: 200 (0.1 ln 10 + 0.9 ln(0.9 / 0.99)) = 28.9 > ln 1000."""
    assert is_beyond(20, 200, 0.01)
    assert not is_beyond(2, 20, 0.01)
    assert is_beyond(0, 8, 0.9)
    assert is_beyond(1, 5, 0.0)
    assert not is_beyond(0, 0, 0.5)


TRIAL = Trial(7, "new", 1000.0)


def told(windows: int, run_id: str = "r", digest: str = "old") -> Report:
    """Return a report of so many windows."""
    return Report("a", "ecg", tallies={digest: Counts(windows=windows)}, run_id=run_id)


def test_only_what_came_during_the_trial_counts():
    agent = learn(None, told(500), 900.0, Trial())
    agent = learn(agent, told(590), 995.0, Trial())
    agent = learn(agent, told(600), 1005.0, TRIAL)
    assert (10, 590) == (agent.total("old", 7).windows, agent.before("old", 7).windows)
    agent = learn(agent, told(650), 1015.0, TRIAL)
    assert 60 == agent.total("old", 7).windows
    assert 0 == agent.total("old", 8).windows


def test_agent_that_was_silent_when_the_trial_began_adds_nothing_of_before():
    agent = learn(learn(None, told(500), 100.0, Trial()), told(9000), 1005.0, TRIAL)
    assert 0 == agent.total("old", 7).windows
    agent = learn(learn(None, told(500), 1005.0, TRIAL), told(510), 1015.0, TRIAL)
    assert 10 == agent.total("old", 7).windows


def test_canarys_first_report_counts_whole():
    assert 5 == learn(None, told(5, digest="new"), 1005.0, TRIAL).total("new", 7).windows


@given(st.lists(st.lists(st.integers(0, 50), min_size=1, max_size=5), min_size=1, max_size=5))
def test_restarts_lose_and_double_nothing(runs):
    """Counts that begin anew with another run id add up to every window that was reported."""
    agent: Agent | None = None
    for number, steps in enumerate(runs):
        total = 0
        for step in steps:
            total += step
            agent = learn(agent, told(total, str(number), "new"), 1005.0, TRIAL)
    assert agent is not None
    assert sum(map(sum, runs)) == agent.total("new", 7).windows
