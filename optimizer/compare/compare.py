"""What else there is: rows to hold a run's network against, all made in the same harness."""

from typing import Literal

import msgspec

COMPARISON = "comparison.json"


class ComparatorRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One way of getting a network, or a figure from print; None is not known."""

    name: str
    origin: Literal["measured", "printed", "calculated"]
    """Measured: trained here. Printed: a figure of the paper's. Calculated: priced, not trained."""
    accuracy: float | None = None
    """On the test split, which is looked at once for each seed; mean over the seeds."""
    accuracy_std: float | None = None
    """Over the seeds; None where there is one."""
    macro_f1: float | None = None
    edge_j: float | None = None
    """Modelled edge energy of one window."""
    total_j: float | None = None
    """Modelled energy of one window on edge and fog together."""
    parameters: int | None = None
    """Of the whole network."""
    edge_parameters: int | None = None
    """Of the part on the edge."""
    point: int | None = None
    """Layers on the edge."""
    encoding: str | None = None
    """How the activation travels."""
    trainings: int = 0
    """Networks trained to get there, the short trainings of a search among them."""
    seconds: float = 0.0
    """Time that took; of a row that a kill interrupted, since the run went on."""
    note: str = ""
    macs: int | None = None
    """Multiply-accumulates of the whole network for one window."""


class ComparisonRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file `comparison.json`."""

    rows: tuple[ComparatorRow, ...]
