"""What agents measured in a stretch of time: sums over agents, by point."""

import msgspec

from headtail.operations import Operations


class PointSeen(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Windows of one partition point with one encoding; times are means, None where not seen."""

    point: int
    encoding: str
    windows: float
    """Windows answered, wherever; counts from counters that Prometheus extrapolates."""
    from_fog: float
    """Those that the fog answered."""
    message_bytes: float | None
    """Mean size of a request message with one window."""
    payload_bytes: float | None
    """What of it is the activation."""
    head_s: float | None
    network_s: float | None
    """Of a message and its answer, without what passes in the fog."""
    network_low_s: float | None
    """The same of windows that nothing hindered: a first quartile."""
    queue_s: float | None
    tail_s: float | None
    """In the fog; None where so many windows ended on the edge that it cannot be told apart."""
    total_s: float | None
    head: Operations | None
    """What the head computes; None where agents do not say so, or ran several networks."""
    tail: Operations | None


class RoundTrips(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Round trips of small control calls."""

    count: float
    low_s: float
    """Their mean where it lies near their first quartile, or else that: a histogram tells a
    quartile to within a bucket, and a mean exactly but with every hindrance in it."""


class Observation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All that is learned from; kept in a run's folder so that a resumed run knows the same."""

    model: str
    at: str
    """The end of the stretch, UTC."""
    range_s: int
    matchers: dict[str, str]
    points: tuple[PointSeen, ...]
    round_trips: RoundTrips | None
    fallbacks: dict[str, float]
    """Windows of any model finished on the edge because of the fog, by reason."""
    losses: dict[str, float]
    """Streams given up, by reason."""

    @property
    def windows(self) -> float:
        """Windows of all points."""
        return sum(p.windows for p in self.points)

    @property
    def sent(self) -> tuple[PointSeen, ...]:
        """Points of which the fog answered some windows."""
        return tuple(p for p in self.points if p.from_fog >= 1 and p.network_s is not None)

    @property
    def loss_ratio(self) -> float | None:
        """Share of the windows meant for the fog that it did not answer; None where none were."""
        meant = sum(p.windows for p in self.sent)
        return 1 - sum(p.from_fog for p in self.sent) / meant if meant else None
