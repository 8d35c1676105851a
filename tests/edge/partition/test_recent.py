"""Whether the last samples of a link are better explained by a line of their own."""

import math
import random

import pytest

from edge_agent.partition.recent import KEPT, LEAST, Recent, Sample

BELIEVED = 0.005, 1 / 36e3
"""Round trip in seconds, and seconds a bit."""
NOISE = 0.06
SMALL, LARGE = 464.0, 976.0


def seconds(link: tuple[float, float], bits: float) -> float:
    """Return what a message takes, by hand."""
    return link[0] + link[1] * bits


def recent(samples: list[Sample], noise: float = NOISE) -> Recent:
    """Return samples with their errors against what is believed."""
    found = Recent()
    for bits, took_s, doubt in samples:
        error = math.log(took_s / seconds(BELIEVED, bits)) / math.hypot(noise, doubt)
        found.add((bits, took_s, doubt), error)
    return found


@pytest.mark.parametrize("link", [(0.06, 1e-8), (0.001, 1 / 18e3), (0.0005, 1e-6)])
def test_another_line_is_seen_in_a_few_samples(link: tuple[float, float]) -> None:
    """Farther away, slower or quicker, told by two sizes."""
    before = [(b, seconds(BELIEVED, b), 0.0) for b in (SMALL, LARGE) * 2]
    after = [(b, seconds(link, b), 0.0) for b in (LARGE, SMALL, LARGE, SMALL)]
    found = recent([*before, *after]).newcomers(BELIEVED, NOISE**2)
    assert LEAST <= len(found) <= len(after)
    assert found == after[-len(found) :]


def test_two_that_were_held_up_are_no_other_line() -> None:
    """However long; with a third one they are, if they agree."""
    late = [(LARGE, 0.5, 0.0)] * 2
    usual = [(b, seconds(BELIEVED, b), 0.0) for b in (SMALL, LARGE) * 2]
    assert not recent([*usual, *late]).newcomers(BELIEVED, NOISE**2)
    assert not recent([*usual, *late, usual[0]]).newcomers(BELIEVED, NOISE**2)
    assert len(recent([*usual, *late, late[0]]).newcomers(BELIEVED, NOISE**2)) == LEAST


def test_errors_that_no_line_explains_are_no_other_line() -> None:
    """One size, much too long and much too quick in turn."""
    samples = [(LARGE, seconds(BELIEVED, LARGE) * f, 0.0) for f in (2.0, 0.5) * 4]
    assert not recent(samples).newcomers(BELIEVED, NOISE**2)


def test_noise_is_hardly_ever_another_line() -> None:
    """Of 20,000 samples on a link as it is believed to be."""
    rng, found, alarms = random.Random(3), Recent(), 0
    for i in range(20_000):
        bits, error = (SMALL, LARGE)[i % 2], rng.gauss(0.0, NOISE)
        found.add((bits, seconds(BELIEVED, bits) * math.exp(error), 0.0), error / NOISE)
        if found.newcomers(BELIEVED, NOISE**2):
            found.clear()
            alarms += 1
    assert alarms <= 4


def test_only_the_last_are_kept() -> None:
    """What came before them tells nothing."""
    old = [(LARGE, 0.5, 0.0)] * LEAST
    usual = [(b, seconds(BELIEVED, b), 0.0) for b in (SMALL, LARGE) * KEPT][:KEPT]
    assert not recent([*old, *usual]).newcomers(BELIEVED, NOISE**2)
