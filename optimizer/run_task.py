"""What the network of a run is trained with."""

from dataclasses import dataclass

from headtail.tensor import Array
from optimizer.individual import Candidate
from optimizer.recipe import Recipe
from optimizer.run_inputs import Inputs


@dataclass(frozen=True, slots=True)
class Task:
    """A network, where it will be cut, and what it learns from."""

    recipe: Recipe
    candidate: Candidate
    """The network, where it is cut and how its activation travels."""
    inputs: Inputs
    taught: Array | None
    """What teachers say of the training windows, shape (N, classes)."""
