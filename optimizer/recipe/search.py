"""What a recipe says of its search: the genes, and how networks are found, judged and trained."""

import itertools
from typing import Annotated, Literal

import msgspec

from headtail.bundle.manifest import Step
from optimizer.network import LengthGene, Multiple, Size
from optimizer.recipe_section import Natural, Positive, Ratio, Section

ZERO_SHOT = ("parameters", "flops")  # methods that train the finalists alone

Goal = Literal["accuracy", "edge_energy", "total_energy", "parameters", "latency"]
"""What a search may aim at; all but accuracy, which is the score in use, are physical."""


class InputConfig(Section, frozen=True):
    """Section [[search.inputs]]: what a network may be given in place of the recipe's own input."""

    preprocess: Annotated[tuple[Step, ...], msgspec.Meta(min_length=1)]
    """Window steps in place of [[preprocess]]; they decide the input's length and channels."""


class SearchConfig(Section, frozen=True):
    """Section [search]: evolve the network's hidden layers before it is trained.

    The given network is one of the first generation. Every network is held against
    [partition.bounds] at its best point; those that keep them are trained briefly and compared.
    """

    channels: Annotated[tuple[Size, ...], msgspec.Meta(min_length=1)] = (1, 2, 3, 4)
    """Channels that each hidden map may have besides its own."""
    lengths: tuple[LengthGene, ...] = ()
    """Lengths that each hidden map may have besides its own; 0 lets the search drop the layer."""
    kernels: tuple[Multiple, ...] = ()
    """Kernels that each hidden layer may have besides its own, as multiples or, less than 1, parts
    of its stride; none keeps each as it is."""
    inputs: tuple[InputConfig, ...] = ()
    """Sections [[search.inputs]]: other inputs that a network may take."""
    method: Literal[
        "evolution", "random", "no_partition", "partition_after", "parameters", "flops"
    ] = "evolution"
    """How networks are found: by evolution; drawn at random; by evolution with everything on the
    edge (no_partition), or so and cut at the end (partition_after); or by evolution towards more
    parameters or operations (parameters, flops), which trains the finalists alone."""
    objectives: Annotated[tuple[Goal, ...], msgspec.Meta(min_length=1)] = ("accuracy",)
    """What is aimed at: accuracy (the score of `select`) alone or with edge_energy, total_energy,
    parameters or latency, which are made less; then half of a generation survives, by NSGA-II."""
    patience: Natural = 0
    """Generations without a better best (of several objectives: a larger hypervolume) after which
    the search ends; 0 goes on to the last."""
    population: Annotated[int, msgspec.Meta(ge=4, le=1000)] = 16
    """Networks of one generation."""
    generations: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 8
    """Generations bred after the first, which is drawn at random."""
    tournament: Annotated[int, msgspec.Meta(ge=1)] = 3
    """Networks drawn for each parent, of which the fittest mates."""
    mutation: Ratio = 0.15
    """Chance of each gene (a length, a number of channels, a kernel, the input) to change."""
    repair: bool = True
    """Whether lengths of which neighbours do not divide one another are repaired: drawn as they
    fit, and changed as little as need be where networks are bred. The paper does not; such networks
    are then out of bounds."""
    draws: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 32
    """Networks drawn or bred for each place of a generation, of which the first one is taken that
    is within the bounds and new; 1 takes what comes, as the paper does."""
    epochs: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 4
    """Passes of the short training of each network; the rest of it is as [train] says."""
    rungs: tuple[Annotated[int, msgspec.Meta(ge=1, le=10_000)], ...] = ()
    """Passes of successive trainings in place of `epochs`, more each time: the networks of a
    generation that do better at one go on, from the start, to the next. The score of a network is
    that of the last it came to."""
    keep: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.5
    """Share of the networks at one of `rungs` that go on to the next, at least one."""
    windows: Positive = 1000
    """Most training windows of the short training, drawn at random, the same for all networks."""
    select: Literal["accuracy", "macro_f1"] = "macro_f1"
    """Figure on one half of the validation split by which networks are compared."""
    finalists: Positive = 3
    """Best networks of the search, among which the other half of the validation split decides."""
    extraction: Natural = 0
    """Passes of a longer training of the finalists before that half decides; 0 takes the scores
    that they have from the search."""

    folds: Annotated[int, msgspec.Meta(ge=0, le=100)] = 0
    """Splits on each of which that training is done, drawn anew from the training and validation
    windows together; the means decide. 0 trains once, on the search's own split."""

    def __post_init__(self) -> None:
        if self.folds and not self.extraction:
            raise ValueError("folds are those of the finalists' longer training: set extraction")
        if self.tournament > self.population:
            raise ValueError("tournament must be at most population")
        if len(set(self.objectives)) < len(self.objectives) or "accuracy" not in self.objectives:
            raise ValueError("objectives must hold accuracy, and each one once")
        if any(after <= before for before, after in itertools.pairwise(self.rungs)):
            raise ValueError(f"rungs must become more, received {list(self.rungs)}")
        if len(self.objectives) > 1 and self.method in ZERO_SHOT:
            raise ValueError(f"method {self.method} trains no network: its objective is accuracy")
