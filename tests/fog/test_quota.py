"""Rates and quotas: what an agent's account covers, and what it is told otherwise."""

import pytest

from fog_server.config import Quota
from fog_server.quota import DAY_S, MAX_AGENTS, Quotas
from fog_server.refusal import Cause
from headtail.errors import Overloaded


class Clock:
    """A clock that is set by hand, in seconds."""

    def __init__(self) -> None:
        """Start anywhere."""
        self.now_s = 1234.5

    def __call__(self) -> float:
        """Return the time."""
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    """Return a clock that stands still."""
    return Clock()


def test_without_limits_nothing_is_kept(clock: Clock) -> None:
    """The default allows everything."""
    quotas = Quotas(Quota(), clock)
    quotas.spend("a", 10**9)
    assert not quotas.is_limited
    assert quotas.accounts == 0


def test_rate_refuses_until_enough_is_earned(clock: Clock) -> None:
    """A moment before the delay told is over the window is refused, and after it not."""
    quotas = Quotas(Quota(windows_per_s=10, burst=2), clock)
    quotas.spend("a", 2)
    with pytest.raises(Overloaded, match="more than 10 windows a second") as error:
        quotas.spend("a", 1)
    assert (error.value.cause, error.value.retry_delay_s) == (Cause.RATE, pytest.approx(0.1))
    clock.now_s += 0.099
    with pytest.raises(Overloaded):
        quotas.spend("a", 1)
    clock.now_s += 0.0011
    quotas.spend("a", 1)


def test_agents_have_accounts_of_their_own(clock: Clock) -> None:
    """One that is over its rate does not stop another."""
    quotas = Quotas(Quota(windows_per_s=1), clock)
    quotas.spend("a", 1)
    with pytest.raises(Overloaded):
        quotas.spend("a", 1)
    quotas.spend("b", 1)


def test_message_larger_than_the_burst_passes_and_is_paid_for_later(clock: Clock) -> None:
    """Otherwise it never could; the rate holds in the long run."""
    quotas = Quotas(Quota(windows_per_s=10, burst=4), clock)
    quotas.spend("a", 24)
    with pytest.raises(Overloaded) as error:
        quotas.spend("a", 1)
    assert error.value.retry_delay_s == pytest.approx(2.1)


def test_quota_lasts_a_day(clock: Clock) -> None:
    """The delay is what is left of it."""
    quotas = Quotas(Quota(windows_per_day=5), clock)
    quotas.spend("a", 4)
    clock.now_s += 3600
    with pytest.raises(Overloaded, match="4 of 5 windows a day used") as error:
        quotas.spend("a", 2)
    assert (error.value.cause, error.value.retry_delay_s) == (Cause.QUOTA, DAY_S - 3600)
    quotas.spend("a", 1)
    clock.now_s += DAY_S - 3600
    quotas.spend("a", 5)


def test_windows_that_were_not_run_are_given_back(clock: Clock) -> None:
    """Only work that was done counts."""
    quotas = Quotas(Quota(windows_per_s=1, burst=1, windows_per_day=1), clock)
    quotas.spend("a", 1)
    quotas.give_back("a", 1)
    quotas.spend("a", 1)
    quotas.give_back("nobody", 1)


def test_made_up_names_do_not_fill_the_memory(clock: Clock) -> None:
    """The account used longest ago is closed."""
    quotas = Quotas(Quota(windows_per_s=1), clock)
    for number in range(MAX_AGENTS + 100):
        quotas.spend(f"agent-{number}", 1)
    assert quotas.accounts == MAX_AGENTS
