"""Round trip and rate from the times of messages, against links whose both are known."""

import math
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.partition.link_estimate import LinkEstimate

ROUND_TRIPS_S = st.floats(1e-3, 0.3)
RATES = st.floats(2e4, 1e8)


def feed(
    estimate: LinkEstimate, link: tuple[float, float], sizes: list[int], noise: float, seed: int = 1
) -> int:
    """Give an estimate messages of these sizes, a tenth of a second apart; return the jumps."""
    rng, (round_trip_s, rate) = random.Random(seed), link
    before = estimate.jumps
    for i, size in enumerate(sizes):
        seconds = (round_trip_s + 8 * size / rate) * rng.lognormvariate(0.0, noise)
        estimate.observe(8.0 * size, seconds, 0.1 * (i + 1))
    return estimate.jumps - before


@given(ROUND_TRIPS_S, RATES)
def test_two_sizes_tell_round_trip_and_rate(round_trip_s: float, rate: float) -> None:
    """To a tenth, where the larger size takes about as long as the smaller one's way."""
    size = max(200, int(rate * round_trip_s / 8))
    estimate = LinkEstimate()
    feed(estimate, (round_trip_s, rate), [100, 100 + 2 * size] * 20, 0.0)
    assert abs(estimate.predict(8.0 * 100) / (round_trip_s + 800 / rate) - 1) < 0.1
    assert abs(estimate.seconds_per_bit * rate - 1) < 0.1


@given(ROUND_TRIPS_S, RATES, st.sampled_from([0.02, 0.1, 0.3, 3.0, 10.0, 50.0]))
def test_step_is_believed_after_a_few_windows(
    round_trip_s: float, rate: float, times: float
) -> None:
    """Whatever the step is due to: messages of the size that shows it are predicted to a tenth."""
    estimate = LinkEstimate()
    feed(estimate, (round_trip_s, rate), [5000] * 40, 0.01)
    after = round_trip_s, rate * times
    expected_s = round_trip_s + 4e4 / after[1]
    feed(estimate, after, [5000] * 8, 0.01)
    assert abs(estimate.predict(4e4) / expected_s - 1) < 0.1


def test_one_size_leaves_open_what_takes_the_time() -> None:
    """Until a message of another size settles it."""
    estimate = LinkEstimate()
    feed(estimate, (0.05, 1e6), [6250] * 10, 0.01)
    aa, ab, bb = estimate.covariance
    spread_s = math.sqrt(aa + bb * 5e4**2 - 2 * ab * 5e4)
    assert spread_s > 0.5 * estimate.predict(5e4)
    estimate.observe(800.0, 0.0508, 2.0)
    assert abs(estimate.round_trip_s / 0.05 - 1) < 0.1
    assert abs(estimate.seconds_per_bit * 1e6 - 1) < 0.15


def test_one_late_message_is_no_jump() -> None:
    """Two are none either."""
    estimate = LinkEstimate()
    feed(estimate, (0.02, 1e6), [2500] * 30, 0.05)
    before_s = estimate.predict(2e4)
    assert not estimate.observe(2e4, 1.0, 10.0)
    assert not estimate.observe(2e4, 1.0, 10.1)
    assert estimate.predict(2e4) < 1.5 * before_s


@settings(max_examples=30)
@given(st.integers(0, 10**6))
def test_steady_noise_hardly_jumps(seed: int) -> None:
    """A fifth of the time, as a standard deviation: one false alarm in a hundred at most."""
    estimate = LinkEstimate()
    feed(estimate, (0.04, 5e5), [1000, 4000] * 10, 0.2, seed)
    assert feed(estimate, (0.04, 5e5), [1000, 4000] * 150, 0.2, seed + 1) <= 3


def test_what_is_far_too_quick_is_believed_sooner_than_what_is_late() -> None:
    """Much can hold a message up, nothing makes it quicker than its link: two in a row do."""
    for seconds, few in ((0.003, 2), (0.6, 3)):
        estimate = LinkEstimate()
        feed(estimate, (0.04, 1e6), [2500, 100] * 20, 0.02)
        jumps = [estimate.observe(2e4, seconds, 5.0 + 0.1 * i) for i in range(6)]
        assert jumps.index(True) + 1 >= few
        assert jumps.index(True) + 1 <= 2 * few - 2


def test_a_jump_that_no_size_shows_alone() -> None:
    """A slow link near by becomes a quick one far away: one size later, one sooner, each a bit."""
    estimate = LinkEstimate()
    feed(estimate, (0.005, 36e3), [58, 122] * 10, 0.05)
    for i in range(12):
        bits = 8.0 * (58 if i > 5 and i % 2 else 120)
        estimate.observe(bits, 0.053, 4.0 + i, doubt=0.06)
    assert estimate.jumps
    assert abs(estimate.round_trip_s / 0.053 - 1) < 0.1
    assert estimate.seconds_per_bit < 0.2 / 36e3


@given(st.sampled_from([0.01, 0.03, 0.1, 0.2]), st.integers(0, 10**6))
@settings(max_examples=30)
def test_noise_is_learned_from_few_samples(noise: float, seed: int) -> None:
    """Within half and twice of what it is, wherever it began."""
    estimate = LinkEstimate()
    feed(estimate, (0.04, 5e5), [1000, 4000] * 20, noise, seed)
    assert 0.5 < estimate.noise / noise < 2.0


def test_a_silence_leaves_less_known() -> None:
    """What nobody looked at may have changed: the next samples count for more."""
    silent, busy = LinkEstimate(), LinkEstimate()
    for estimate in (silent, busy):
        feed(estimate, (0.04, 1e6), [2500, 100] * 20, 0.02)
    silent.observe(2e4, 0.06, 12.0)
    for i in range(80):
        busy.observe(2e4, 0.06, 4.1 + 0.1 * i)
    assert silent.covariance[0] > 2.0 * busy.covariance[0]


def test_sizes_that_err_to_either_side_do_not_hide_one_another() -> None:
    """Farther away and quicker: small messages take longer, large ones less, in turn."""
    estimate = LinkEstimate()
    feed(estimate, (0.003, 36e3), [60, 180] * 30, 0.02)
    feed(estimate, (0.024, 49e4), [60, 180] * 8, 0.02)
    assert abs(estimate.predict(8.0 * 180) / (0.024 + 8 * 180 / 49e4) - 1) < 0.15
    assert estimate.seconds_per_bit < 2.0 / 49e4


def test_message_that_was_given_up_is_a_jump() -> None:
    """A deadline passed: it takes that long at least, whatever was believed."""
    estimate = LinkEstimate()
    feed(estimate, (0.01, 1e8), [10_000] * 30, 0.02)
    estimate.exceeded(8e4, 1.0, 5.0)
    assert estimate.predict(8e4) > 0.8
    assert estimate.jumps == 1


def test_what_came_before_a_jump_tells_nothing_of_after() -> None:
    """A slow link near by becomes a quick one farther away, of which empty calls alone tell."""
    estimate = LinkEstimate()
    feed(estimate, (0.16, 36e3), [58, 220] * 15, 0.02)
    jumps = estimate.jumps
    for i in range(12):
        estimate.observe(464.0, 0.03, 4.0 + i)
    assert estimate.jumps > jumps
    assert abs(estimate.predict(464.0) / 0.03 - 1) < 0.1
