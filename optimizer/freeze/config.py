"""What a recipe says of layer freezing: the fitness, the evolution, the trainings, the energy."""

from typing import Annotated, Literal

import msgspec

from optimizer.recipe_section import Amount, Natural, Positive, Ratio, Section

FreezeGoal = Literal["score", "trained_layers", "energy"]
OptimizerName = Literal["adam", "momentum", "sgd"]


class FreezeTrainConfig(Section, frozen=True):
    """Section [freeze.train]: the brief training of each individual."""

    epochs: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 10
    """Passes over the training windows."""
    batch: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 20
    """Windows of one step."""
    optimizer: OptimizerName = "adam"
    """adam, sgd, or momentum: SGD with a momentum of 0.9."""
    learning_rate: Annotated[float, msgspec.Meta(gt=0)] = 0.001
    """Rate of every step."""
    balance: Literal["none", "weight", "sample"] = "none"
    """What is done about rare classes: nothing, weights in the loss, or drawing them more often."""
    windows: Natural = 0
    """Most training windows, drawn at random, the same for all individuals; 0 takes all."""
    copies: Natural = 1
    """Augmented copies of the training windows, made once and taken in turn by the passes; 0
    augments anew for every pass, which leaves nothing of the training to cache."""
    cache_mib: Natural = 2048
    """Most memory for activations of frozen prefixes; the deepest prefix that fits is cached. 0
    caches nothing."""


class FreezeEnergyConfig(Section, frozen=True):
    """Section [freeze.energy]: predicted training energy, P_load x time."""

    load_w: Annotated[float, msgspec.Meta(gt=0)] = 74.0
    """Power while training; ToSiM-IoT takes 74 W for an NVIDIA T4."""
    flops_per_s: Amount = 0.0
    """Operations that the machine does in a second of training; 0 measures them once, before the
    first individual, on a pass that trains every layer."""


class FreezeConfig(Section, frozen=True):
    """Section [freeze]: choose by evolution which layers are trained, by Algorithm 1 of ToSiM-IoT.

    The fitness is alpha * score - beta * max(cost - limit, 0). With several objectives NSGA-II's
    ranks take its place, and individuals beyond the limit come last.
    """

    fitness: Literal["trained", "additive"] = "trained"
    """The score: of a brief training of each individual on the validation split (trained), or the
    sum of `values` over the trained layers (additive)."""
    objectives: Annotated[tuple[FreezeGoal, ...], msgspec.Meta(min_length=1)] = ("score",)
    """What is aimed at: the score alone, or with fewer trained_layers or less energy to train."""
    select: Literal["accuracy", "macro_f1"] = "macro_f1"
    """Figure on the validation split by which trained individuals are compared."""
    alpha: Amount = 1.0
    """Weight of the score."""
    beta: Amount = 1.0
    """Weight of what is spent beyond the limit."""
    cost: Literal["share", "energy"] = "share"
    """What the limit is about: the share of the operations that training every layer takes, or the
    predicted energy in joules. Of the additive fitness it is the sum over layers by themselves."""
    limit: Amount = 1.0
    """C: the most that a training may cost without penalty."""
    values: dict[str, float] = msgspec.field(default_factory=dict)
    """v of the additive fitness, by layer; a layer that is not named is worth 0."""
    always: tuple[str, ...] = ()
    """Layers that every individual trains, such as a new classification head."""
    layers: tuple[str, ...] = ()
    """Layers to train, where they are known: then nothing is searched for."""
    method: Literal["evolution", "random"] = "evolution"
    """How masks are found: by evolution, or all drawn at random (random layer freezing)."""
    population: Annotated[int, msgspec.Meta(ge=4, le=1000)] = 10
    """Individuals of one generation."""
    generations: Annotated[int, msgspec.Meta(ge=0, le=100_000)] = 10
    """Generations bred after the first."""
    tournament: Positive = 2
    """Individuals drawn for each parent, of which the fittest mates."""
    crossover: Ratio = 0.9
    """Chance that a child is crossed, at one point."""
    mutation: Ratio = 0.2
    """Chance of each bit to flip; the paper's, too much for more than some tens of layers."""
    elite: Positive = 5
    """Fittest individuals that stay, so that children replace the weaker ones."""
    draws: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 8
    """Individuals drawn or bred for each place until one is new; 1 takes what comes, as the paper
    does."""
    tails: tuple[Ratio, ...] = (0.1, 0.5, 1.0)
    """Shares of the layers, counted from the output: masks that train just these open the first
    generation; the rest of it is drawn at random."""
    train: FreezeTrainConfig = FreezeTrainConfig()
    energy: FreezeEnergyConfig = FreezeEnergyConfig()
