"""Who chooses the plan of each window while the agent runs, and learns from what becomes of it."""

from typing import Protocol

from edge_agent.link import FogLink
from edge_agent.plan import Plan
from edge_agent.underway import Finish, Prediction, Underway


class Pilot(Protocol):
    """Chooses plans by what it sees of the windows; every call costs microseconds."""

    @property
    def plan(self) -> Plan:
        """What is in use now."""
        ...

    def follow(self, link: FogLink) -> None:
        """Look after this link from now on."""
        ...

    def next_plan(self, waited_s: float) -> Plan:
        """Return the plan of the next windows; called on the run's thread.

        Args:
            waited_s: How long these windows had to wait for room.
        """
        ...

    def sent(self, work: Underway, sent_s: float) -> Prediction:
        """Take note of a message that goes to the fog; return what is predicted for it."""
        ...

    def predict_here(self, work: Underway) -> Prediction:
        """Return what is predicted for windows that are finished on the edge."""
        ...

    def answered(self, work: Underway, sent_s: float, received_s: float, finish: Finish) -> None:
        """Take note of the fog's answer; on any thread."""
        ...

    def finished_here(self, work: Underway, finish: Finish) -> None:
        """Take note of windows that were finished on the edge; on any thread."""
        ...
