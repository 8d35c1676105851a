"""How requests for a model are batched and queued, in the words of Triton's configuration."""

from typing import Annotated, Literal

import msgspec

from headtail.server.config import NotNegative, Positive

Level = Annotated[str, msgspec.Meta(pattern="^[1-9][0-9]*$")]
HIGHEST = 1
"""The priority level that goes first, and that of models without levels."""


class QueuePolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Section `default_queue_policy`: how long a request may wait, and behind how many."""

    timeout_action: Literal["REJECT", "DELAY"] = "REJECT"
    """What becomes of a request that has waited too long: REJECT refuses it, DELAY lets those of
    its level that have not go first. A deadline is another matter: past it nothing is run."""
    default_timeout_microseconds: NotNegative = 0
    """How long a request may wait; 0 means for ever."""
    allow_timeout_override: bool = False
    """Whether a request's parameter `timeout`, in microseconds, counts where it is shorter."""
    max_queue_size: NotNegative = 0
    """Requests of one model and level that may wait; 0 means as many as `max_queued`."""

    def timeout_s(self, wanted_us: int) -> float:
        """Return how long a request may wait that asks for `wanted_us`, 0 for nothing special."""
        longest = self.default_timeout_microseconds or float("inf")
        if self.allow_timeout_override and wanted_us > 0:
            longest = min(longest, wanted_us)
        return longest / 1e6


class DynamicBatching(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Section `inference.dynamic_batching`: which requests of a model run as one batch, and when.

    Models without a batch dimension are queued by the same rules, and run one by one.
    """

    max_batch_size: Positive = 16
    """Windows of several requests that run as one batch; a request with more runs alone."""
    preferred_batch_size: tuple[Positive, ...] = ()
    """Sizes that are formed where those who wait make up just so many; most models need none."""
    max_queue_delay_microseconds: NotNegative = 0
    """How long a request may be kept for others to join it; 0 means that batches form of what came
    while everything was busy."""
    preserve_ordering: bool = False
    """Whether one agent's requests to a model are answered in the order in which they came."""
    priority_levels: NotNegative = 0
    """Levels that a request's parameter `priority` may name, 1 being the first served; 0 means
    that nobody asks."""
    default_priority_level: NotNegative = 0
    """Level of a request that names none, or one that does not exist."""
    default_queue_policy: QueuePolicy = QueuePolicy()
    priority_queue_policy: dict[Level, QueuePolicy] = msgspec.field(default_factory=dict)
    """Policies of single levels, by level, where they are not the default one."""

    def __post_init__(self) -> None:
        """Refuse what contradicts itself.

        Raises:
            ValueError: If it does.
        """
        if any(size > self.max_batch_size for size in self.preferred_batch_size):
            raise ValueError("a preferred_batch_size is over max_batch_size")
        if self.priority_levels and not 1 <= self.default_priority_level <= self.priority_levels:
            raise ValueError("default_priority_level is not one of the priority_levels")
        if any(int(level) > self.priority_levels for level in self.priority_queue_policy):
            raise ValueError("priority_queue_policy names a level over priority_levels")
        if self.preserve_ordering and self.priority_levels > 1:
            raise ValueError("preserve_ordering allows for one priority level only")
        policies = (self.default_queue_policy, *self.priority_queue_policy.values())
        if self.preserve_ordering and any(p.timeout_action == "DELAY" for p in policies):
            raise ValueError("preserve_ordering does not go with timeout_action DELAY")

    def is_ripe(self, windows: int, *, is_batchable: bool) -> bool:
        """Return whether a request of so many windows need not wait for others to join it."""
        return (
            not is_batchable
            or not self.max_queue_delay_microseconds
            or windows >= self.max_batch_size
            or windows in self.preferred_batch_size
        )

    def level(self, priority: int) -> int:
        """Return the level of a request whose parameter `priority` says so; 0 if it says none."""
        if not self.priority_levels:
            return HIGHEST
        return priority if 1 <= priority <= self.priority_levels else self.default_priority_level

    def policy(self, level: int) -> QueuePolicy:
        """Return how those of a level wait."""
        return self.priority_queue_policy.get(str(level), self.default_queue_policy)

    @property
    def sizes(self) -> frozenset[int]:
        """The batch sizes that are worth a run before the first request."""
        return frozenset({1, *self.preferred_batch_size, self.max_batch_size})
