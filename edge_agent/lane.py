"""One stream to a fog, and the requests that wait on it."""

from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from edge_agent.fog_client import FogStream
from edge_agent.fogs import Fog
from headtail.errors import RemoteError
from headtail.oip import InferResponse


class Request(msgspec.Struct, frozen=True):
    """One message on its way: when it left and until when its answer is wanted."""

    id: str
    content: bytes
    sent_s: float
    deadline_s: float
    """On the link's clock."""
    body: bytes | memoryview = b""
    """What follows `content` in the message: the largest tensor, where that is not copied."""

    @property
    def size(self) -> int:
        """Bytes of the message."""
        return len(self.content) + len(self.body)


class Outcome(Protocol):
    """What becomes of a request: exactly one of `answered` and `failed`, on any thread."""

    def answered(self, request: Request, response: InferResponse, received_s: float) -> bool:
        """Take the fog's answer; return whether it was of use."""
        ...

    def failed(self, request: Request, error: RemoteError) -> None:
        """Finish the window without the fog."""
        ...

    def refused(self, error: RemoteError) -> None:
        """End the run: every fog refused what no repetition will mend.

        The link's lock may be held: call nothing of it.
        """
        ...


@dataclass(slots=True, eq=False)
class Lane:
    """A stream and what was sent on it; guarded by the link's lock."""

    fog: Fog
    stream: FogStream
    since_s: float
    """Since when it is in use."""
    last_heard_s: float
    paused_until_s: float = 0.0
    pending: dict[str, Request] = field(default_factory=dict)
    is_proved: bool = False
    """Whether anything was answered on it."""
    is_announced: bool = False
    """Whether the log says that it is in use."""
    closes_s: float | None = None
    """When a half-closed lane is closed for good; None while it is in use."""

    @property
    def due_s(self) -> float | None:
        """When the keeper must look at it next; None: not while nothing is sent on it.

        Deadlines are of one length, so the oldest request is the first to be late.
        """
        for request in self.pending.values():
            return request.deadline_s
        return self.closes_s

    def take_late(self, now_s: float) -> list[Request]:
        """Remove and return the requests whose deadline has passed."""
        late = [r for r in self.pending.values() if r.deadline_s <= now_s]
        for request in late:
            del self.pending[request.id]
        return late

    def take_all(self) -> list[Request]:
        """Remove and return every request."""
        requests = list(self.pending.values())
        self.pending.clear()
        return requests
