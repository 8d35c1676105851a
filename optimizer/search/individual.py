"""One individual of a search: a network without its unused genes, and all that is known of it."""

import msgspec

from headtail.wire import Encoding
from optimizer.candidate import Candidate
from optimizer.network import Genome, Multiple
from optimizer.recipe.search import Goal

NetworkKey = tuple[tuple[int | float, ...], ...]
"""The input, then length, channels and kernel of every map: equal networks have equal ones."""


class Assessment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is known of a network before any training."""

    is_feasible: bool
    edge_j: float | None = None
    """Modelled edge energy of one window at the best point or, where only bounds on energies are
    broken, at the nearest; None where every point breaks another bound."""
    total_j: float | None = None
    """Modelled energy of edge and fog together at that point."""
    latency_s: float | None = None
    """Predicted time of head and transmission at that point, where the device has speeds."""
    parameters: int | None = None
    """Of the whole network."""
    point: int | None = None
    """The best point, counted in layers; None where none is within the bounds."""
    encoding: Encoding | None = None
    excess: float | None = None
    """How far the worst energy is beyond its bound, as a share of it, at the nearest point; None
    where the network is feasible or breaks another bound at every point."""
    reason: str = ""
    """Why the network is not feasible; empty where it is."""


class Individual(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One network, its zero-length layers left out, with all that was measured of it."""

    lengths: tuple[int, ...]
    channels: tuple[int, ...]
    assessment: Assessment
    score: float | None = None
    """On the half of the validation split that steers the search; None if never trained."""
    final_score: float | None = None
    """On the other half, which decides among the finalists."""
    proxy: float | None = None
    """What steers a search that trains nothing but its finalists."""
    kernels: tuple[Multiple, ...] = ()
    """Kernel of each map's layer in strides, 1 for the input; empty where all are 1."""
    input: int = 0
    """Which input it takes: 0 is the recipe's own, others those of [[search.inputs]] in turn."""
    epochs: int = 0
    """Passes of the training behind its scores; 0 for those that the search does by default."""

    @property
    def key(self) -> NetworkKey:
        """What tells it from other networks."""
        kernels = self.kernels or (1,) * len(self.lengths)
        maps = zip(self.lengths, self.channels, kernels, strict=True)
        return ((self.input,), *((*sizes, float(kernel)) for *sizes, kernel in maps))

    @property
    def description(self) -> str:
        """Its lists in one line; kernels where one is not its stride."""
        text = f"lengths {list(self.lengths)}, channels {list(self.channels)}"
        if self.kernels:
            text += f", kernels {list(self.kernels)}"
        return f"{text}, input {self.input}" if self.input else text

    @property
    def steering(self) -> float | None:
        """What a search for the best alone makes larger; None where there is nothing yet."""
        return self.score if self.proxy is None else self.proxy

    def genome(self, classes: int) -> Genome:
        """Return the network's description.

        Raises:
            ValueError: If there is no such network: lengths that do not divide one another.
        """
        return Genome(self.lengths, self.channels, classes, self.kernels)

    def candidate(self, classes: int, epochs: int = 0, fold: int = 0) -> Candidate:
        """Return what its training needs to know, as it would be cut; it must be feasible.

        Args:
            classes: Outputs of the network.
            epochs: Passes over the windows; 0 for those that the search does by default.
            fold: Which split it is trained on; 0 for the search's.
        """
        point, encoding = self.assessment.point, self.assessment.encoding
        assert point is not None, "feasible"
        assert encoding is not None, "feasible"
        return Candidate(self.genome(classes), self.input, point, encoding, epochs, fold)

    def aims(self, goals: tuple[Goal, ...]) -> tuple[float, ...] | None:
        """Return what it reaches, every goal turned so that less is better.

        None where it is not feasible, was not trained, or a goal cannot be predicted.
        """
        if not self.assessment.is_feasible or self.score is None:
            return None
        values = {
            "accuracy": 1 - self.score,
            "edge_energy": self.assessment.edge_j,
            "total_energy": self.assessment.total_j,
            "parameters": self.assessment.parameters,
            "latency": self.assessment.latency_s,
        }
        reached = [values[goal] for goal in goals]
        known = tuple(float(value) for value in reached if value is not None)
        return known if len(known) == len(goals) else None
