"""When probes are made and what they cost, in a simulated world."""

import math
from collections.abc import Sequence

import pytest

from edge_agent.partition.choose import Objective
from edge_agent.partition.link_estimate import LinkEstimate
from edge_agent.partition.offer import Option
from edge_agent.partition.predict import (
    PROBE_MOST,
    PROBE_PAUSE_S,
    PROBE_SHARE,
    PROBE_SOON_S,
    PROBE_WINDOWS,
)
from edge_agent.partition.probing import (
    AFRESH,
    BURST,
    DEBT,
    DULL,
    FIRST_PADDING_BYTES,
    LEAST_RATIO,
    PROBE_BYTES,
    REFUND,
    Price,
    Probing,
)
from edge_agent.partition.uplink import Uplink
from partition_world import Weather, World, steady, stepping

ENERGY = Objective("edge_energy")
RECEIVE_W, TRANSMIT_W, PHY_RATE, WAKE_S, PACKET_BYTES = 0.322, 0.594, 65e6, 0.002, 94
"""Of the link profile `wifi-esp32`."""


def probe_j(bits: float, rate: float) -> float:
    """Return what one packet costs, by hand."""
    bits += 8 * PACKET_BYTES
    sending_s = bits / PHY_RATE
    return TRANSMIT_W * sending_s + RECEIVE_W * (WAKE_S + bits / rate - sending_s)


@pytest.mark.parametrize("rate", [1e8, 1e6, 1e5])
def test_pause_is_what_a_probe_costs_over_its_share_of_the_power(begin, rate: float) -> None:
    """Of windows that take 0.1 W; a radio is no quicker than itself."""
    live = begin(World(steady(1e6, 0.01)))
    expected_s = probe_j(1000.0, min(rate, PHY_RATE)) / (PROBE_SHARE * 0.1)
    price = live.predictor.probe_price(1000.0, 1.0 / rate, 0.02, 0.2)
    assert price.pause_s == pytest.approx(expected_s, rel=1e-6)


@pytest.mark.parametrize(("rate", "share"), [(3e4, None), (1e4, PROBE_MOST)])
def test_on_the_slowest_links_probes_may_cost_more(begin, rate: float, share) -> None:
    """One comes every few seconds, as far as the larger share goes."""
    live = begin(World(steady(1e6, 0.01)))
    price = live.predictor.probe_price(1000.0, 1.0 / rate, 0.04, 0.2)
    probe = probe_j(1000.0, rate)
    assert probe / (PROBE_SHARE * 0.2) > PROBE_SOON_S
    expected_s = PROBE_SOON_S if share is None else probe / (share * 0.2)
    assert price.pause_s == pytest.approx(expected_s, rel=1e-6)


@pytest.mark.parametrize("rate", [1e8, 1e6, 1e5])
def test_a_probe_may_take_its_share_of_a_window(begin, rate: float) -> None:
    """So many bytes cost so much, by hand; none where the packet alone is dearer."""
    live = begin(World(steady(1e6, 0.01)))
    size = live.predictor.probe_price(1000.0, 1.0 / rate, 0.02, 0.2).most_bytes
    assert probe_j(8.0 * size, min(rate, PHY_RATE)) == pytest.approx(PROBE_WINDOWS * 0.02)
    assert live.predictor.probe_price(1000.0, 1.0 / rate, 1e-6, 0.2).most_bytes == 0.0


def test_pause_has_an_end(begin) -> None:
    """However slow the link is, a better one is seen some time."""
    live = begin(World(steady(1e6, 0.01)))
    assert live.predictor.probe_price(1000.0, 1e-2, 0.02, 0.2).pause_s == PROBE_PAUSE_S


@pytest.mark.parametrize("rate", [6e4, 3e5, 3e6, 1e8])
@pytest.mark.parametrize("round_trip_s", [0.005, 0.15])
def test_probes_cost_few_percent_where_energy_counts(begin, rate: float, round_trip_s) -> None:
    """Of a minute's windows, those of the first seconds not counted, whether they are sent."""
    world = World(steady(rate, round_trip_s), probe_bytes=58)
    live = begin(world, ENERGY)
    world.run(live, 100)
    bits, calls, began_s = world.probe_bits, live.probing.made, world.now_s
    world.run(live, 300)
    state = live.state()
    windows_j = 300 * float(state.costs.energy_j[state.current])
    calls = live.probing.made - calls
    # A new stream begins with a burst.
    spent_j = probe_j(0.0, rate) * calls + RECEIVE_W * (world.probe_bits - bits) / rate
    burst_j = BURST * (probe_j(8.0 * 8300, rate) if rate > 1e6 else probe_j(2000.0, rate))
    assert spent_j <= (PROBE_MOST + 0.005) * windows_j + burst_j
    assert world.now_s > began_s


def test_windows_of_one_size_do_not_hide_what_link_they_are_on(begin, options) -> None:
    """They take as long as before, on a slow link near by now; an empty call tells."""
    far = Weather(1.9e5, 0.15)
    first = World(steady(far.rate, far.round_trip_s))
    live = begin(first, ENERGY)
    first.run(live, 100)
    plan = options[live.state().current]
    assert not plan.plan.is_local
    bits = 8.0 * (plan.message_bytes + 60 + 55)  # its framing, and the answer's share
    near = Weather(bits / (far.round_trip_s - 0.001 + bits / far.rate), 0.001)
    world = World(stepping(far, near, seconds=20.0))
    live = begin(world, ENERGY)
    world.run(live, 250)
    assert abs(live.uplink.estimate.seconds_per_bit * near.rate - 1.0) < 0.25


def test_first_call_on_a_connection_is_larger() -> None:
    """Its headers are sent in full; what the next one takes tells of the link alone."""
    uplink = Uplink()
    for now_s in (1.0, 2.0):
        uplink.probing(0, now_s)
        bits = uplink.estimate.predict(8.0 * (200 if now_s == 1.0 else 58))
        assert uplink.sent(0.0, now_s) <= bits
        uplink.failed(0.0, 0.0, now_s)
        uplink.probed(0, 0.02 + 8.0 * (200 if now_s == 1.0 else 58) / 1e5, now_s + 0.1)
    uplink.probing(512, 3.0)
    uplink.probed(512, 0.02 + 8.0 * (512 + 58) / 1e5, 3.1)
    assert abs(uplink.estimate.seconds_per_bit * 1e5 - 1.0) < 0.1


def wanted(probing: Probing, estimate: LinkEstimate, now_s: float, *, idle: bool) -> int | None:
    """Return what a probe of now would carry, where nothing is open; make it."""
    padding = probing.wanted(now_s, estimate, 0.2, lambda: idle, lambda: False)
    if padding is not None:
        probing.call(padding, lambda padding_bytes, took_s: None)
    return padding


ANSWER_S = 1.0
"""Longer than anything here is to take."""


def answered(padding_bytes: int, done) -> bool:
    """Answer at once."""
    done(ANSWER_S)
    return True


def answered_sooner(padding_bytes: int, done) -> bool:
    """Answer at once, and say that it took next to no time."""
    done(1e-6)
    return True


def test_a_link_in_use_is_looked_at_now_and_then() -> None:
    """Nothing is open, windows flow: an empty call every two seconds."""
    probing, estimate = Probing(1.0), LinkEstimate()
    estimate.observe(2e4, 0.1, 0.0)
    probing.connect(answered)
    times_s = [t / 10 for t in range(1, 200)]
    made = [(t, p) for t in times_s if (p := wanted(probing, estimate, t, idle=False)) is not None]
    assert {padding for _, padding in made} == {0}
    assert 8 <= len(made) <= 11


def at_once(probing: Probing, estimate: LinkEstimate, now_s: float) -> int:
    """Make all probes that are wanted at one moment; return how many."""
    made = 0
    while wanted(probing, estimate, now_s, idle=True) is not None:
        made += 1
    return made


@pytest.mark.parametrize(
    ("call", "least", "most"),
    [(answered, BURST, BURST), (answered_sooner, BURST + 1, BURST / (1.0 - REFUND))],
)
def test_what_a_jump_allows_is_bounded(call, least: int, most: float) -> None:
    """Few come at once, then one a second at most; those quicker than believed cost less."""
    probing, estimate = Probing(1.0), LinkEstimate()
    estimate.observe(2e4, 0.1, 0.0)
    probing.connect(call)
    assert least <= at_once(probing, estimate, 10.0) <= most
    if call is answered:
        probing.again()
        assert AFRESH == at_once(probing, estimate, 10.01)


def test_surprise_is_checked_by_probes_of_its_size(begin, options: Sequence[Option]) -> None:
    """Most of them, so that a few tell whether it was chance."""
    world = World(stepping(Weather(2e4, 0.001), Weather(1e8, 0.001), seconds=30.0), probe_bytes=58)
    live = begin(world, ENERGY)
    seen = world.run(live, 220)
    after = [s for s in seen if s.began_s - world.start_s > 30.0]
    here = [options[s.option].plan.is_local for s in after]
    assert not any(here[math.ceil(8.0 / 0.2) :])


def on_a_known_link() -> tuple[Probing, LinkEstimate]:
    """Return probes that nothing hurries, and what is known of a quick link."""
    probing, estimate = Probing(1.0), LinkEstimate()
    estimate.observe(1e3, 0.05, 0.0)
    estimate.observe(8e4, 0.052, 0.1)
    probing.connect(answered)
    probing.rest()
    return probing, estimate


def paddings(
    probing: Probing, estimate: LinkEstimate, price: Price, *, idle: bool, start_s: float = 10.0
) -> list[int]:
    """Return the padding of each of a minute's probes, one every 3 s."""
    sizes = []
    for i in range(24):
        now_s = start_s + 3.0 * i
        padding = probing.wanted(now_s, estimate, 0.2, lambda: idle, lambda: not idle, price)
        assert padding is not None
        probing.call(padding, lambda padding_bytes, took_s: None)
        sizes.append(padding)
    return sizes


def test_an_empty_probe_between_does_not_make_the_next_one_small_again() -> None:
    """What was safe stays so until something jumps."""
    sizes = paddings(*on_a_known_link(), Price(2.5), idle=True)
    padded = [size for size in sizes if size]
    assert padded == sorted(padded)
    assert padded[-1] > 1000
    assert 0 in sizes[-3:]


@pytest.mark.parametrize("most_bytes", [100.0, 300.0, 1000.0])
def test_padding_keeps_to_its_price_at_first(most_bytes: float) -> None:
    """It doubles after every few that told nothing: some time a better link must be seen."""
    probing, estimate = on_a_known_link()
    price = Price(2.5, most_bytes)
    sizes = [size for size in paddings(probing, estimate, price, idle=True) if size]
    bounds = [most_bytes * 2.0 ** ((i + 1) / DULL) - PROBE_BYTES for i in range(len(sizes))]
    assert all(s <= max(FIRST_PADDING_BYTES, b) for s, b in zip(sizes, bounds, strict=True))
    assert sizes[-1] >= min(4 * sizes[1], 4 * most_bytes)
    probing.again()
    probing.rest()
    again = paddings(probing, estimate, price, idle=True, start_s=100.0)
    assert next(size for size in again if size) <= 2 * most_bytes


def test_while_windows_are_sent_empty_calls_will_do() -> None:
    """Windows are larger: both sizes together tell the rate, also where that is asked for."""
    assert set(paddings(*on_a_known_link(), Price(2.5), idle=False)) == {0}


def test_a_surprise_is_looked_into_on_account() -> None:
    """One more probe than there are left, as what is believed may be all wrong; then no more."""
    probing, estimate = Probing(1.0), LinkEstimate()
    for i in range(40):
        estimate.observe(464.0, 0.02, 0.1 * i)
    probing.connect(answered)
    while wanted(probing, estimate, 10.0, idle=True) is not None:
        pass
    estimate.observe(464.0, 0.04, 10.0)
    assert estimate.is_surprised
    probing.hurry()
    made = 0
    while wanted(probing, estimate, 10.01, idle=True) is not None:
        made += 1
    assert made == DEBT


def test_a_large_probe_of_the_first_moment_keeps_nobody_waiting() -> None:
    """Nothing was known then; what waits for its price would be blind meanwhile."""
    probing, estimate = Probing(1.0), LinkEstimate()
    estimate.observe(464.0, 0.02, 0.0)
    estimate.observe(33_000.0, 0.49, 0.1)
    probing.connect(lambda padding_bytes, done: answered(padding_bytes, done))
    probing._sent = 4096
    usual = LEAST_RATIO * 0.2 / estimate.seconds_per_bit
    assert probing.paid_bits(estimate, 0.2) == pytest.approx(8 * PROBE_BYTES + usual)
    assert probing.paid_bits(estimate, math.inf) == 8 * (PROBE_BYTES + 4096)
    probing._sent = 0
    assert probing.paid_bits(estimate, 0.2) == 8 * PROBE_BYTES


def test_what_a_probe_cost_is_known_by_the_time_it_took() -> None:
    """Whatever is believed of the link."""
    probing = Probing(1.0)
    assert probing.least_rate == 0.0
    probing.connect(lambda padding_bytes, done: answered(padding_bytes, done))
    probing.call(100, lambda padding_bytes, took_s: None)
    assert probing.least_rate == pytest.approx(8 * (PROBE_BYTES + 100) / ANSWER_S)
