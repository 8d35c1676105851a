"""What every option would cost by the estimates of now, and how much of that is in doubt."""

import math
from dataclasses import dataclass

import numpy as np

from edge_agent.partition.choose import Objective
from edge_agent.partition.device import DeviceEstimate
from edge_agent.partition.fog_estimate import FogEstimate
from edge_agent.partition.predict import Costs, Estimates, Predictor, Vector
from edge_agent.partition.uplink import Uplink

AGAINST = 2.0
"""So many times counts what speaks against a change, but no more than the whole doubt."""


@dataclass(frozen=True, slots=True)
class State:
    """What stands behind the choice at one moment."""

    estimates: Estimates
    costs: Costs
    scores: Vector
    current: int


class Outlook:
    """Predicts from estimates that others keep; one thread at a time."""

    def __init__(
        self,
        predictor: Predictor,
        objective: Objective,
        room: int,
        estimates: tuple[Uplink, DeviceEstimate, FogEstimate],
    ) -> None:
        """Prepare.

        Args:
            predictor: Of the options.
            objective: Scores them.
            room: Windows that may be under way.
            estimates: Of the link, of this device and of the fog; read anew each time.
        """
        self._predictor = predictor
        self._objective = objective
        self._room = room
        self._uplink, self._device, self._fog = estimates
        self.is_served = np.ones(len(predictor.options), bool)
        """Whether the fog in use takes each option."""

    def predict(self, current: int, **changes: float) -> State:
        """Predict every option from the estimates as they are, or with some changed.

        Args:
            current: The option in use.
            changes: What an estimate is multiplied by: `round_trip`, `bit`, `head`, `fog` and
                `crowd`, the queue and the failures.
        """
        link, device, fog = self._uplink.estimate, self._device, self._fog
        factor, crowd = changes.get("fog", 1.0), changes.get("crowd", 1.0)
        estimates = Estimates(
            link.round_trip_s * changes.get("round_trip", 1.0),
            link.seconds_per_bit * changes.get("bit", 1.0),
            fog.queue_s * crowd,
            device.head_ratio * changes.get("head", 1.0),
            fog.tail_ratio * factor,
            device.overhead_s,
            fog.failed_ratio * crowd,
            device.interval_s,
            self._room,
        )
        tails = [fog.tail_s(o.plan.point.index) * factor for o in self._predictor.options]
        costs = self._predictor.predict(estimates, np.array(tails))
        scores = self._objective.scores(costs)
        scores = np.where(self.is_served, scores, np.inf)
        return State(estimates, costs, scores, current)

    def doubts(self, state: State, now_s: float) -> Vector:
        """Return the standard deviation of each option's score less that of the one in use.

        Of the link only what speaks against the option counts: where the one in use can only fare
        worse by what is not known, that is no reason to stay.
        """
        head = self._difference(state, head=math.exp(self._device.doubt))
        link, fog = self.link_doubts(state, is_against=True), self._fog_doubts(state, now_s)
        return np.sqrt(link**2 + head**2 + fog**2)

    def link_doubts(self, state: State, *, is_against: bool = False) -> Vector:
        """Return the part of it that the link's round trip and rate leave open.

        Args:
            state: Of now.
            is_against: Whether only what makes an option worse counts, to either side.
        """
        estimate = self._uplink.estimate
        aa, ab, bb = estimate.covariance
        first, mixed = math.sqrt(aa), ab / math.sqrt(aa)
        second = math.sqrt(max(0.0, bb - mixed * mixed))
        a, b = estimate.round_trip_s, estimate.seconds_per_bit
        # Towards the better: that is what there is to hope for.
        along = self._difference(
            state, round_trip=max(0.0, 1.0 - first / a), bit=max(0.0, 1.0 - mixed / b)
        )
        across = self._difference(state, bit=max(0.0, 1.0 - second / b))
        doubts = np.sqrt(along**2 + across**2)
        if not is_against:
            return doubts
        along, across = (
            self._worst(state, first / a, mixed / b),
            self._worst(state, 0.0, second / b),
        )
        return np.minimum(doubts, AGAINST * np.sqrt(along**2 + across**2))

    def _worst(self, state: State, round_trip: float, bit: float) -> Vector:
        """Return by how much scores may get worse if both are off by such shares, up or down."""
        ways = [
            self._shift(
                state, round_trip=max(0.0, 1.0 + s * round_trip), bit=max(0.0, 1.0 + s * bit)
            )
            for s in (-1.0, 1.0)
        ]
        return np.maximum(0.0, np.maximum(*ways))

    def _fog_doubts(self, state: State, now_s: float) -> Vector:
        over = self._fog.usual_ratio ** (1.0 - self._fog.crowd(now_s))
        factor = over * math.exp(-self._fog.doubt(now_s))
        return self._difference(state, fog=factor, crowd=self._fog.crowd(now_s))

    def _difference(self, state: State, **changes: float) -> Vector:
        """Return by how much scores move against that of the option in use, either way."""
        return np.abs(self._shift(state, **changes))

    def _shift(self, state: State, **changes: float) -> Vector:
        """Return by how much scores rise above that of the option in use."""
        moved = self.predict(state.current, **changes).scores
        np.subtract(moved, state.scores, out=moved, where=self.is_served)
        moved[~self.is_served] = 0.0
        shift: Vector = moved - moved[state.current]
        return shift
