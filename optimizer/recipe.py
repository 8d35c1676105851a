"""The recipe: one TOML file that says what `optimizer run` makes and from what."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

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
ZERO_SHOT = ("parameters", "flops")  # methods that train the finalists alone


class _Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A part of the recipe: immutable, unknown keys refused."""


class NetworkConfig(_Section, frozen=True):
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
    gain: Ratio = 0.0
    """Largest relative change of the amplitude."""
    noise: Amount = 0.0
    """Standard deviation of added Gaussian noise, in the units of the model's input."""


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
    select: Literal["accuracy", "macro_f1", "loss"] = "macro_f1"
    """Figure on the validation split by which the best epoch is chosen."""
    augment: AugmentConfig = AugmentConfig()
    """Small changes of the training windows; off by default."""


class SearchConfig(_Section, frozen=True):
    """Section [search]: evolve the network's hidden layers before it is trained.

    The given network is one of the first generation. Every network is held against
    [partition.bounds] at its best point; those that keep them are trained briefly and compared.
    """

    channels: Annotated[tuple[Size, ...], msgspec.Meta(min_length=1)] = (1, 2, 3, 4)
    """Channels that each hidden map may have besides its own."""
    lengths: tuple[LengthGene, ...] = ()
    """Lengths that each hidden map may have besides its own; 0 lets the search drop the layer."""
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
    """Chance of each gene, a length or a number of channels, to change."""
    epochs: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 4
    """Passes of the short training of each network; the rest of it is as [train] says."""
    windows: Positive = 1000
    """Most training windows of the short training, drawn at random, the same for all networks."""
    select: Literal["accuracy", "macro_f1"] = "macro_f1"
    """Figure on one half of the validation split by which networks are compared."""
    finalists: Positive = 3
    """Best networks of the search, among which the other half of the validation split decides."""

    def __post_init__(self) -> None:
        if self.tournament > self.population:
            raise ValueError("tournament must be at most population")
        if len(set(self.objectives)) < len(self.objectives) or "accuracy" not in self.objectives:
            raise ValueError("objectives must hold accuracy, and each one once")
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


class ExportConfig(_Section, frozen=True):
    """Section [export]."""

    opset: Annotated[int, msgspec.Meta(ge=13, le=18)] = 17
    """ONNX operator set of the segments."""
    verify_windows: Annotated[int, msgspec.Meta(ge=MIN_VERIFY_WINDOWS)] = 256
    """Real windows on which the chain of segments must equal the Keras model."""
    test_windows: Positive = 2000
    """Most windows of the test split written to test.npz."""


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
    """What trains the networks of a search."""
    partition: PartitionConfig = PartitionConfig()
    """Where it is cut."""
    export: ExportConfig = ExportConfig()
    """How it is written."""

    def __post_init__(self) -> None:
        if self.search is None:
            return
        if len(self.network.lengths) == 1:
            raise ValueError("search has nothing to change in a network without hidden layers")
        if not isinstance(self.partition.points, str):
            raise ValueError("search makes many networks: points must be 'auto' or 'all'")


def read_recipe(path: Path, seed: int | None = None) -> Recipe:
    """Read and check a recipe; `seed`, where given, replaces its own.

    Raises:
        ConfigError: If the file cannot be read or breaks a rule; names the file and the key.
    """
    recipe = read_toml(path, Recipe)
    if seed is not None:
        recipe = msgspec.structs.replace(recipe, seed=seed)
    try:
        if Pipeline(recipe.preprocess).has_signal_steps:
            raise ConfigError(
                "[[preprocess]]", "expected window steps only; the data brings others"
            )
    except ConfigError as error:
        raise ConfigError(str(path), str(error)) from error
    return recipe


def describe_recipe(recipe: Recipe, found: NetworkConfig | None = None) -> dict[str, Any]:
    """Return the recipe as plain values for the lineage, with the network that a search found.

    Without the data's path: where a file lies on one machine says nothing, its fingerprint does.
    Nor does it say where networks were trained.
    """
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(recipe))
    plain["data"].pop("path")
    plain.pop("executor")
    if recipe.search is None:
        plain.pop("search")
    if found is not None:
        plain["found"] = msgspec.json.decode(msgspec.json.encode(found))
    return plain


def parse_seed(text: str) -> int:
    """Return a seed given as a flag.

    Raises:
        ConfigError: If it is no number from 0 to 2^32 - 1.
    """
    if not re.fullmatch(r"[0-9]{1,10}", text) or int(text) >= 2**32:
        raise ConfigError("--seed", f"expected a number from 0 to {2**32 - 1}, received '{text}'")
    return int(text)
