"""Which option is best under the objective, and when a better one is worth a change."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edge_agent.meter import EnergyMeter, ProfileMeter
from edge_agent.partition.predict import Costs, Vector
from headtail.errors import ConfigError

ObjectiveName = Literal["latency", "edge_energy", "weighted", "deadline"]
Mask = NDArray[np.bool_]
PENALTY = 100.0
"""Weight of a bound that is broken, per share by which it is, beyond that it is broken at all."""
CALM_S, CALM_FACTOR = 10.0, 3.0
"""Right after a change the margin is this much larger, and the surplus wears off in such a time."""
RETURN_S, RETURN_FACTOR = 30.0, 9.0
"""The same for going back to where one came from: there and back again is a change too many."""
DOUBT = 0.7
"""Standard deviations of a gain that must be left of it."""
HASTY_S = 3.0
"""After a jump, how long a choice that more knowledge could change counts as none yet, for options
of which more will be known."""


@dataclass(frozen=True, slots=True)
class Objective:
    """What is to be least, and what is to be kept."""

    name: ObjectiveName = "latency"
    latency_weight: float = 0.5
    """Of `weighted`: the share of latency, the rest is energy, each as a multiple of the least."""
    max_latency_s: float = math.inf
    max_energy_j: float = math.inf
    deadline_s: float = math.inf
    """Of `deadline`."""

    def check(self, meter: EnergyMeter) -> None:
        """Raise where it needs energies and nothing prices them.

        Raises:
            ConfigError: Naming what would.
        """
        if self.needs_energy and not isinstance(meter, ProfileMeter):
            text = "choosing by energy needs --device-profile and --link-profile"
            raise ConfigError("--partition-objective", text)

    @property
    def needs_energy(self) -> bool:
        """Whether energies count."""
        return self.name != "latency" or self.max_energy_j < math.inf

    @property
    def latency_bound_s(self) -> float:
        """Latency that is to be kept, in seconds; infinite where there is none."""
        return min(self.max_latency_s, self.deadline_s if self.name == "deadline" else math.inf)

    def scores(self, costs: Costs) -> Vector:
        """Return one number an option, the least of them the best; above 0."""
        latency, energy = costs.latency_s, costs.energy_j
        if self.name == "latency":
            scores = latency
        elif self.name == "weighted":
            share = self.latency_weight
            scores = share * latency / latency.min() + (1.0 - share) * energy / _least(energy)
        else:
            scores = energy
        excess = np.maximum(latency / self.latency_bound_s - 1.0, 0.0)
        if self.max_energy_j < math.inf:
            excess = excess + np.maximum(energy / self.max_energy_j - 1.0, 0.0)
        return scores + float(scores.max()) * ((excess > 0.0) + PENALTY * excess)


@dataclass(frozen=True, slots=True)
class Calm:
    """How reluctant the choice is."""

    margin: float = 0.02
    """Least gain of a change, as a share of the score."""
    dwell_s: float = 1.0
    """Shortest stay."""


class Chooser:
    """Holds the option in use, and leaves it only for one that is better beyond doubt."""

    def __init__(self, first: int, calm: Calm, tells: Mask | None = None) -> None:
        """Begin with an option.

        Args:
            first: In use.
            calm: How reluctant to be.
            tells: Whose windows tell more of the link; None: those of every option.
        """
        self.current = first
        self._before = first
        self._calm = calm
        self._tells = slice(None) if tells is None else tells
        self._since_s = -math.inf
        self._has_jumped = True
        self._jumped_s, self._hasty_until_s = math.inf, -math.inf

    def jumped(self) -> None:
        """Note that link or device have changed: the option in use is no better than others."""
        self._has_jumped = True
        self._jumped_s = math.inf

    def choose(self, scores: Vector, doubts: Callable[[], Vector], now_s: float) -> bool:
        """Take the best option where that is worth a change; return whether it was.

        Args:
            scores: Of every option, the least the best; infinite where one may not be used.
            doubts: Returns the standard deviation of the difference between the score of the
                option in use and that of each; asked only where a change may be worth it.
            now_s: Monotonic seconds.
        """
        self._jumped_s = min(self._jumped_s, now_s)
        mine = float(scores[self.current])
        if not math.isfinite(mine):
            return self._turn(int(np.argmin(scores)), now_s)
        worth = mine - scores - mine * self._needed(len(scores), now_s)
        if worth.max() <= 0.0:
            return False
        doubt = doubts()
        worth -= DOUBT * doubt
        worth[self.current] = 0.0
        best = int(np.argmax(worth))
        if worth[best] <= 0.0:
            return False
        until_s = self._jumped_s + HASTY_S if self._has_jumped else self._hasty_until_s
        self._turn(best, now_s)
        # Doubts are of differences to the option that was in use, and so large enough for this.
        self._hasty_until_s = until_s if self.is_open(scores, doubt) else -math.inf
        return True

    def is_open(self, scores: Vector, doubts: Vector) -> bool:
        """Return whether more knowledge could change the choice."""
        mine = float(scores[self.current])
        if not math.isfinite(mine):
            return True
        hopes = scores - doubts
        hopes[self.current] = mine
        return bool(hopes.min() < (1.0 - self._calm.margin) * mine)

    def _needed(self, options: int, now_s: float) -> Vector:
        """Return the least gain of a change to each option, as a share of the score in use."""
        margin, stayed_s = self._calm.margin, now_s - self._since_s
        if self._has_jumped:
            return np.full(options, margin)
        calm = margin * (1.0 + CALM_FACTOR * math.exp(-stayed_s / CALM_S))
        needed = np.full(options, calm if stayed_s >= self._calm.dwell_s else math.inf)
        if now_s < self._hasty_until_s:
            needed[self._tells] = margin
        back = margin * (1.0 + RETURN_FACTOR * math.exp(-stayed_s / RETURN_S))
        needed[self._before] = max(needed[self._before], back)
        return needed

    def _turn(self, option: int, now_s: float) -> bool:
        if option == self.current:
            return False
        self._before, self.current = self.current, option
        self._since_s = now_s
        self._has_jumped = False
        return True


def _least(values: Vector) -> float:
    """Return the least value above zero, or 1 where there is none."""
    positive = values[values > 0.0]
    return float(positive.min()) if len(positive) else 1.0
