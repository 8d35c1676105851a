"""The recipe: one TOML file that says what `optimizer run` makes and from what."""

import itertools
import re
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import msgspec

from headtail.bundle.manifest import Name, Step, Version
from headtail.config import read_toml
from headtail.errors import ConfigError
from headtail.preprocess.pipeline import Pipeline
from headtail.wire import USUAL_ENCODINGS, Encoding
from optimizer.data.dataset import DataConfig
from optimizer.executor_config import ExecutorConfig
from optimizer.individual import Goal
from optimizer.network import Genome, LengthGene, Multiple, Size
from optimizer.partition import FOG_FACTOR, Bounds, Objective

Positive = Annotated[int, msgspec.Meta(ge=1)]
Natural = Annotated[int, msgspec.Meta(ge=0)]
Amount = Annotated[float, msgspec.Meta(ge=0)]
Ratio = Annotated[float, msgspec.Meta(ge=0, le=1)]
MIN_VERIFY_WINDOWS = 64
ComparedMethod = Literal["random", "no_partition", "partition_after", "parameters", "flops"]
ZERO_SHOT = ("parameters", "flops")  # methods that train the finalists alone


class _Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A part of the recipe: immutable, unknown keys refused."""


class NetworkConfig(_Section, frozen=True, omit_defaults=True):
    """Section [network]: the 1-D network, one entry per map, the first being the input."""

    lengths: tuple[LengthGene, ...]
    """Length of each map; a shorter one is made by a convolution, a longer one by a transposed
    convolution, and 0 leaves the layer out."""
    channels: tuple[Size, ...]
    """Channels of each map, as many as lengths."""
    kernels: tuple[Multiple, ...] = ()
    """Kernel of each map's layer as a multiple of its stride, as many as lengths and 1 for the
    input; none means that every kernel equals its stride."""

    def __post_init__(self) -> None:
        self.genome(1)

    def genome(self, classes: int) -> Genome:
        """Return the network's description with an output per class."""
        return Genome(self.lengths, self.channels, classes, self.kernels)


class AugmentConfig(_Section, frozen=True):
    """Section [train.augment]: small changes of each training window, drawn anew every epoch."""

    shift: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Most samples by which a window is moved either way; its ends are repeated."""
    stretch: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.0
    """Largest relative change of the pace, from the window's start on."""
    gain: Ratio = 0.0
    """Largest relative change of the amplitude."""
    noise: Amount = 0.0
    """Standard deviation of added Gaussian noise, in the units of the model's input."""


class TeacherConfig(_Section, frozen=True):
    """Section [train.teacher]: larger networks that the run trains first; what they say of a window
    is aimed at besides its label. Source: Hinton et al., arXiv:1503.02531, at temperature 1."""

    network: NetworkConfig
    """Section [train.teacher.network]: one teacher, as [network] says the network."""
    preprocess: tuple[Step, ...] | None = None
    """Window steps to the teachers' input; none given means the recipe's own."""
    members: Annotated[int, msgspec.Meta(ge=1, le=100)] = 1
    """Teachers, each from other first weights; the mean of what they say is taught."""
    share: Ratio = 0.7
    """Weight of what they say against that of the label."""
    epochs: Annotated[int, msgspec.Meta(ge=1, le=10_000)] | None = None
    """Passes of each teacher's training; none given means as many as the network's."""


class TrainConfig(_Section, frozen=True):
    """Section [train]."""

    epochs: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 20
    """Passes over the training windows."""
    batch: Positive = 64
    """Windows of one optimiser step; the odd rest of a pass is left out, another one each time."""
    learning_rate: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.004
    """Step size of Adam at the start."""
    schedule: Literal["constant", "cosine"] = "cosine"
    """Whether the step size stays or falls to zero over the run along half a cosine."""
    balance: Literal["none", "weight", "sample"] = "weight"
    """What evens out unequal classes: nothing, weights in the loss, or drawing rare windows more
    often."""
    select: Literal["accuracy", "macro_f1", "loss", "last"] = "macro_f1"
    """Figure on the validation split by which the best epoch is chosen; last takes the last."""
    augment: AugmentConfig = AugmentConfig()
    """Small changes of the training windows; off by default."""
    teacher: TeacherConfig | None = None
    """Networks to learn from besides the labels; off by default."""
    quantise: bool = False
    """Whether the map that will cross is quantised in training as it will be on the wire."""


class InputConfig(_Section, frozen=True):
    """Section [[search.inputs]]: what a network may be given in place of the recipe's own input."""

    preprocess: Annotated[tuple[Step, ...], msgspec.Meta(min_length=1)]
    """Window steps in place of [[preprocess]]; they decide the input's length and channels."""


class SearchConfig(_Section, frozen=True):
    """Section [search]: evolve the network's hidden layers before it is trained.

    The given network is one of the first generation. Every network is held against
    [partition.bounds] at its best point; those that keep them are trained briefly and compared.
    """

    channels: Annotated[tuple[Size, ...], msgspec.Meta(min_length=1)] = (1, 2, 3, 4)
    """Channels that each hidden map may have besides its own."""
    lengths: tuple[LengthGene, ...] = ()
    """Lengths that each hidden map may have besides its own; 0 lets the search drop the layer."""
    kernels: tuple[Multiple, ...] = ()
    """Kernels that each hidden layer may have besides its own, as multiples of its stride; none
    keeps each as it is."""
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

    def __post_init__(self) -> None:
        if self.tournament > self.population:
            raise ValueError("tournament must be at most population")
        if len(set(self.objectives)) < len(self.objectives) or "accuracy" not in self.objectives:
            raise ValueError("objectives must hold accuracy, and each one once")
        if any(after <= before for before, after in itertools.pairwise(self.rungs)):
            raise ValueError(f"rungs must become more, received {list(self.rungs)}")
        if len(self.objectives) > 1 and self.method in ZERO_SHOT:
            raise ValueError(f"method {self.method} trains no network: its objective is accuracy")


class PartitionConfig(_Section, frozen=True):
    """Section [partition]: where the model may be cut, and what decides."""

    device_profile: str = "stm32l476-paper"
    """Device that runs the head: a name of `optimizer profiles` or a .toml file."""
    link_profile: str = "ble-paper"
    """Link between edge and fog: a name of `optimizer profiles` or a .toml file."""
    objective: Objective = "edge_energy"
    """What the chosen point minimises."""
    fog_factor: Annotated[float, msgspec.Meta(gt=0)] = FOG_FACTOR
    """How much less energy the fog needs than the edge for the same layers; for total energies."""
    points: Literal["auto", "all"] | tuple[Natural, ...] = "auto"
    """Partition points offered: those worth having, every legal one, or the cuts of these numbers
    as `optimizer split` counts them."""
    encodings: tuple[Encoding, ...] = USUAL_ENCODINGS
    """Wire encodings offered, of float32 (always), float16, int8 and int4; int4 only where named."""
    bounds: Bounds = Bounds()
    """Section [partition.bounds]: limits that the chosen point must keep."""

    def __post_init__(self) -> None:
        if Encoding.FLOAT32 not in self.encodings:
            raise ValueError("encodings must hold float32")


class CompareConfig(_Section, frozen=True):
    """Section [compare]: make other rows in the same harness and hold the run's network to them.

    The window sent as int8 and one sample in `every` sent as int8, both with the network in the
    fog, are always among them; ways of searching are where the recipe has a [search].
    """

    methods: tuple[ComparedMethod, ...] = get_args(ComparedMethod)
    """Other ways to search, each looking at as many networks as the run's own did."""
    seeds: Annotated[int, msgspec.Meta(ge=1, le=100)] = 1
    """Trainings of each row's network, each tested once; the first has the recipe's seed."""
    every: Annotated[int, msgspec.Meta(ge=2, le=1024)] = 4
    """Of so many samples one is sent; copying each is charged as one MAC."""
    raw_network: NetworkConfig | None = None
    """Network in the fog where the whole window is sent, at least as long as it is before it is
    padded or stretched; by default four convolutions of 8 to 10 channels, sized to it."""
    every_network: NetworkConfig | None = None
    """The same where one sample in `every` is sent."""
    vgg_width: Annotated[int, msgspec.Meta(ge=0, le=64)] = 8
    """Channels of the first convolution of the one-dimensional VGG11; 64 is VGG11's own, and takes
    about 60 times as long to train as 8; 0 leaves it out."""
    vgg_epochs: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 20
    """Passes of its training; the rest of it is as [train] says."""
    vgg_learning_rate: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.001
    """Step size of its training."""
    printed: Literal["auto", "arrhythmia", "seizure", "none"] = "auto"
    """Whose printed figures of the energy-aware NAS paper are added; `auto`: those for the data."""


class ExportConfig(_Section, frozen=True):
    """Section [export]."""

    opset: Annotated[int, msgspec.Meta(ge=13, le=18)] = 17
    """ONNX operator set of the segments."""
    verify_windows: Annotated[int, msgspec.Meta(ge=MIN_VERIFY_WINDOWS)] = 256
    """Real windows on which the chain of segments must equal the Keras model."""
    test_windows: Positive = 2000
    """Most windows of the test split written to test.npz."""


class StatisticsConfig(_Section, frozen=True):
    """Section [statistics]: train the network again, to see how far its figures depend on chance."""

    seeds: Natural = 5
    """Trainings on the run's own split, with the recipe's seed and those after it."""
    splits: Natural = 5
    """Further splits of the data, drawn with the seeds after the data's own, a training on each."""


class Recipe(_Section, frozen=True):
    """A whole recipe."""

    name: Name
    """Name of the model and of the bundle."""
    version: Version
    """Version of the bundle, numbers with dots."""
    task: str
    """What the model tells apart, in a few words."""
    network: NetworkConfig
    """The network to train."""
    seed: Annotated[int, msgspec.Meta(ge=0, lt=2**32)] = 0
    """Draws the first weights, the order of the windows and their augmentation."""
    data: DataConfig = DataConfig()
    """What it learns from."""
    preprocess: tuple[Step, ...] = ()
    """Window steps between the data's windows and the network's input, in order."""
    train: TrainConfig = TrainConfig()
    """How it learns."""
    search: SearchConfig | None = None
    """How its layers are searched for; without this section the given network is trained."""
    executor: ExecutorConfig = ExecutorConfig()
    """What trains the networks of a search, the teachers and the repeats."""
    statistics: StatisticsConfig | None = None
    """How often the network is trained again; not at all without this section."""
    partition: PartitionConfig = PartitionConfig()
    """Where it is cut."""
    compare: CompareConfig | None = None
    """What it is held against; nothing without this section."""
    export: ExportConfig = ExportConfig()
    """How it is written."""

    def __post_init__(self) -> None:
        if self.search is None:
            return
        if len(self.network.lengths) == 1:
            raise ValueError("search has nothing to change in a network without hidden layers")
        if not isinstance(self.partition.points, str):
            raise ValueError("search makes many networks: points must be 'auto' or 'all'")

    def steps(self, index: int = 0) -> tuple[Step, ...]:
        """Return the window steps of an input: 0 is the recipe's own, others a search's in turn."""
        if not index:
            return self.preprocess
        assert self.search is not None, "it has the others"
        return self.search.inputs[index - 1].preprocess


def read_recipe(path: Path, seed: int | None = None) -> Recipe:
    """Read and check a recipe; `seed`, where given, replaces its own.

    Raises:
        ConfigError: If the file cannot be read or breaks a rule; names the file and the key.
    """
    recipe = read_toml(path, Recipe)
    if seed is not None:
        recipe = msgspec.structs.replace(recipe, seed=seed)
    for index in range(len(recipe.search.inputs) + 1 if recipe.search else 1):
        where = f"{path}: [[search.inputs]] {index}" if index else str(path)
        try:
            if Pipeline(recipe.steps(index)).has_signal_steps:
                raise ConfigError(
                    "[[preprocess]]", "expected window steps only; the data brings others"
                )
        except ConfigError as error:
            raise ConfigError(where, str(error)) from error
    return recipe


def describe_recipe(
    recipe: Recipe, found: NetworkConfig | None = None, index: int = 0
) -> dict[str, Any]:
    """Return the recipe as plain values for the lineage, with the network that a search found.

    Where that takes another input than the recipe's own, 0, its window steps are with it.

    Without the data's path: where a file lies on one machine says nothing, its fingerprint does.
    Nor does it say where networks were trained, or what the one was compared with.
    """
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(recipe))
    plain["data"].pop("path")
    plain.pop("executor")
    plain.pop("compare")
    if recipe.search is None:
        plain.pop("search")
    if found is not None:
        plain["found"] = msgspec.json.decode(msgspec.json.encode(found))
        if index:
            steps = msgspec.json.decode(msgspec.json.encode(recipe.steps(index)))
            plain["found"]["preprocess"] = steps
    return plain


def parse_seed(text: str) -> int:
    """Return a seed given as a flag.

    Raises:
        ConfigError: If it is no number from 0 to 2^32 - 1.
    """
    if not re.fullmatch(r"[0-9]{1,10}", text) or int(text) >= 2**32:
        raise ConfigError("--seed", f"expected a number from 0 to {2**32 - 1}, received '{text}'")
    return int(text)
