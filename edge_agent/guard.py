"""Who is told of an agent's windows: what keeps them, and what watches over their bundle."""

from collections.abc import Callable, Sequence
from typing import Protocol

from edge_agent.plan import Plan
from edge_agent.sources.frame import Frame
from edge_agent.underway import Finish, Underway
from headtail.errors import RemoteError
from headtail.segment import Tensors

Begin = Callable[[Sequence[Frame]], None]
"""Begins windows for which there is room."""


class Keep(Protocol):
    """Where windows are kept until their results are in the sink; the spool's committer."""

    def put(self, frames: Sequence[Frame], activation: Tensors, plan: Plan | None = None) -> None:
        """Take windows that went through the head together, under `plan` where that changes."""
        ...

    def flush(self) -> None:
        """No more will come for now."""
        ...


class Guard(Protocol):
    """Watches over a bundle that others may replace, or that has yet to prove itself."""

    @property
    def is_over(self) -> bool:
        """Whether the bundle shall run nothing any more: its windows are given back."""
        ...

    def allow(self, work: Underway, outputs: Tensors, finish: Finish) -> bool:
        """Return whether outputs may be written; where not, the guard sees to their windows."""
        ...

    def give_back(self, work: Underway, fault: Exception | None) -> None:
        """See to windows that the bundle could not run, or shall not."""
        ...

    def refused(self, error: RemoteError) -> None:
        """Take note that every fog refused what no repetition will mend."""
        ...
