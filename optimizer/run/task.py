"""What the network of a run is trained with."""

from dataclasses import dataclass

from optimizer.candidate import Candidate
from optimizer.inputs import Inputs
from optimizer.recipe.recipe import Recipe
from optimizer.training.teaching import Panel


@dataclass(frozen=True, slots=True)
class Task:
    """A network, where it will be cut, and what it learns from."""

    recipe: Recipe
    candidate: Candidate
    """The network, where it is cut and how its activation travels."""
    inputs: Inputs
    teacher: Panel | None
    """Whom it learns from besides the labels."""
