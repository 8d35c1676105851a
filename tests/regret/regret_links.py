"""The links of the regret grid: steady ones, noisy ones with jitter, and ones that step."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from proxy_link import LinkState, Trace

KBIT, MBIT = 1e3, 1e6
RATES = (20 * KBIT, 64 * KBIT, 200 * KBIT, 600 * KBIT, 2 * MBIT, 10 * MBIT, 100 * MBIT)
ROUND_TRIPS_S = (0.001, 0.010, 0.040, 0.100, 0.200)
DOWN_RATIO, MAX_DOWN = 4.0, 100 * MBIT
"""Downlinks are so many times faster than uplinks, up to that rate."""
NOISE_PERIOD_S, NOISE_SLOT_S = 4.0, 0.25
"""Noise is drawn a slot and repeats after the period: whoever measures whole periods meets the same
link, whenever he does."""
RATE_SPREAD, JITTER_RATIO = 0.2, 0.2
"""Standard deviation of the rate's logarithm; largest addition to the delay as a share of it."""
MIN_JITTER_S = 0.002
STEP_S = 20.0
"""Length of each phase of a stepping link."""


@dataclass(frozen=True, slots=True)
class Weather:
    """What a link is like for a while."""

    rate: float
    """Of the uplink, in bits a second; the mean where it is noisy."""
    round_trip_s: float
    """Of both directions' delays together, without bytes."""
    seed: int | None = None
    """Of the noise; None: steady."""

    @property
    def name(self) -> str:
        """What it is called in tables."""
        rate = (
            f"{self.rate / MBIT:g} Mbit/s" if self.rate >= MBIT else f"{self.rate / KBIT:g} kbit/s"
        )
        noise = "" if self.seed is None else ", noisy"
        return f"{rate}, {1e3 * self.round_trip_s:g} ms{noise}"

    def trace(self) -> Trace:
        """Return the link as the proxy takes it."""
        up, delay_s = np.array([self.rate]), np.array([self.round_trip_s / 2])
        if self.seed is not None:
            rng, count = np.random.default_rng(self.seed), round(NOISE_PERIOD_S / NOISE_SLOT_S)
            drawn = np.exp(RATE_SPREAD * rng.standard_normal(count))
            up = self.rate * drawn / drawn.mean()
            jitter_s = max(MIN_JITTER_S, JITTER_RATIO * self.round_trip_s / 2)
            delay_s = self.round_trip_s / 2 + jitter_s * rng.random(count)
        states = [
            LinkState(float(rate), min(MAX_DOWN, DOWN_RATIO * float(rate)), float(one_way_s))
            for rate, one_way_s in zip(up, delay_s, strict=True)
        ]

        def at(now_s: float) -> LinkState:
            return states[int(max(0.0, now_s) / NOISE_SLOT_S) % len(states)]

        return at


@dataclass(frozen=True, slots=True)
class Link:
    """One link of the grid: its weathers, one after the other."""

    kind: Literal["steady", "noisy", "stepping"]
    phases: tuple[Weather, ...]

    @property
    def name(self) -> str:
        """What it is called in tables."""
        return " -> ".join(w.name for w in self.phases)

    def trace(self) -> Trace:
        """Return the link as the proxy takes it; the last phase lasts."""
        traces = [w.trace() for w in self.phases]

        def at(now_s: float) -> LinkState:
            phase = min(len(traces) - 1, int(max(0.0, now_s) / STEP_S))
            return traces[phase](now_s)

        return at


_NOISY = (
    (20 * KBIT, 0.010),
    (64 * KBIT, 0.001),
    (64 * KBIT, 0.040),
    (100 * KBIT, 0.010),
    (200 * KBIT, 0.001),
    (200 * KBIT, 0.040),
    (200 * KBIT, 0.100),
    (600 * KBIT, 0.010),
    (600 * KBIT, 0.040),
    (600 * KBIT, 0.200),
    (2 * MBIT, 0.010),
    (2 * MBIT, 0.100),
    (10 * MBIT, 0.040),
    (100 * MBIT, 0.010),
)
_STEPS = (
    ((100 * MBIT, 0.001), (200 * KBIT, 0.001)),
    ((200 * KBIT, 0.001), (100 * MBIT, 0.001)),
    ((100 * MBIT, 0.001), (20 * KBIT, 0.010)),
    ((20 * KBIT, 0.010), (100 * MBIT, 0.001)),
    ((10 * MBIT, 0.010), (600 * KBIT, 0.040)),
    ((600 * KBIT, 0.040), (10 * MBIT, 0.010)),
    ((10 * MBIT, 0.001), (10 * MBIT, 0.200)),
    ((10 * MBIT, 0.200), (10 * MBIT, 0.001)),
    ((2 * MBIT, 0.040), (64 * KBIT, 0.040)),
    ((64 * KBIT, 0.040), (2 * MBIT, 0.040)),
    ((600 * KBIT, 0.010), (64 * KBIT, 0.001), (600 * KBIT, 0.010)),
    ((2 * MBIT, 0.001), (200 * KBIT, 0.100), (2 * MBIT, 0.001)),
    ((10 * MBIT, 0.040), (2 * MBIT, 0.100)),
    ((100 * MBIT, 0.100), (600 * KBIT, 0.001)),
)


def grid() -> tuple[Link, ...]:
    """Return every link of the grid: 35 steady, 14 noisy and 14 that step."""
    steady = [Link("steady", (Weather(*pair),)) for pair in itertools.product(RATES, ROUND_TRIPS_S)]
    noisy = [Link("noisy", (Weather(*pair, seed=i),)) for i, pair in enumerate(_NOISY)]
    steps = [Link("stepping", tuple(Weather(*pair) for pair in pairs)) for pairs in _STEPS]
    return (*steady, *noisy, *steps)


def reduced(links: Sequence[Link], count: int) -> tuple[Link, ...]:
    """Return about `count` links, evenly spread over those given."""
    count = min(count, len(links))
    return tuple(links[round(i * (len(links) - 1) / max(1, count - 1))] for i in range(count))


def weathers(links: Sequence[Link]) -> tuple[Weather, ...]:
    """Return every weather of some links, each once, in their order."""
    return tuple(dict.fromkeys(w for link in links for w in link.phases))
