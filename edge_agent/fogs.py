"""The fogs of the list, in order of preference, and which of them to try next."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from edge_agent.breaker import Breaker
from edge_agent.fog_client import FogClient
from headtail.errors import RemoteError


@dataclass(slots=True, eq=False)
class Fog:
    """A fog of the list; guarded by the link's lock."""

    client: FogClient
    breaker: Breaker
    rank: int
    """0 is the most preferred."""
    refusal: RemoteError | None = None
    """Why it will not have us, where that is no outage."""
    is_tried: bool = False


class Fogs:
    """Says which fog to try next: the most preferred whose breaker lets it be tried.

    Pure, as the breakers are.
    """

    def __init__(
        self,
        clients: Sequence[FogClient],
        delays: Callable[[], Iterator[float]],
        max_misses: int,
        dwell_s: float,
    ) -> None:
        """Begin with every breaker closed.

        Args:
            clients: In order of preference.
            delays: Makes a breaker's generator of delays, in seconds.
            max_misses: Windows in a row that a fog may leave unanswered.
            dwell_s: Shortest stay with a fog before going back to a more preferred one.
        """
        self._fogs = tuple(
            Fog(client, Breaker(delays, max_misses, dwell_s), rank)
            for rank, client in enumerate(clients)
        )
        self._dwell_s = dwell_s

    def __iter__(self) -> Iterator[Fog]:
        return iter(self._fogs)

    def __len__(self) -> int:
        return len(self._fogs)

    @property
    def are_tried(self) -> bool:
        """Whether each has been tried at least once."""
        return all(fog.is_tried for fog in self._fogs)

    def next_turn(
        self, now_s: float, in_use: Fog | None, since_s: float, without_trial: bool = False
    ) -> tuple[Fog | None, float]:
        """Return the fog to try now, or None, and when to ask again (infinity: after a change).

        A fog in use is left only for a more preferred one, and only after a dwell.

        Args:
            now_s: Now.
            in_use: The fog in use, if any.
            since_s: Since when it is.
            without_trial: Leave out fogs that must answer a window before they are used.
        """
        again_s = float("inf")
        for fog in self._fogs if in_use is None else self._fogs[: in_use.rank]:
            if without_trial and fog.breaker.needs_trial:
                continue
            due_s = fog.breaker.not_before_s
            if in_use is not None:
                due_s = max(due_s, since_s + fog.breaker.dwell_s(self._dwell_s))
            if due_s <= now_s:
                return fog, now_s
            again_s = min(again_s, due_s)
        return None, again_s
