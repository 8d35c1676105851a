"""A request on its way through admission: how it is run, answered and refused."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from fog_server.batcher_queue import NEVER_S, Job
from fog_server.refusal import Cause
from headtail.errors import HeadtailError


@dataclass(slots=True, eq=False)
class Work(Job, ABC):
    """A request that may wait, and learns it where it will not be run; `refuse` never raises."""

    patience_s: float = field(default=NEVER_S, kw_only=True)
    """How long it may wait by its queue's policy."""
    allowed_s: float = field(default=NEVER_S, kw_only=True)
    """How long its answer was worth something when it came."""

    @abstractmethod
    def refuse(self, error: HeadtailError) -> None:
        """Answer that it will not be run."""

    def waited_s(self, cause: Cause) -> float:
        """Return how long it could wait, which was not enough."""
        return self.patience_s if cause is Cause.TIMED_OUT else self.allowed_s


@dataclass(slots=True, eq=False)
class BatchWork(Work):
    """A request that knows how it is run with others and answered."""

    @abstractmethod
    def run(self, batch: Sequence[Work], ran: Callable[[], None]) -> None:
        """Run a batch of which this is the first, call `ran`, then answer all; never raises."""
