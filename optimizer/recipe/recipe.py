"""The recipe: one TOML file that says what `optimizer run` makes and from what."""

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
from optimizer.network import Genome, LengthGene, Multiple, Size
from optimizer.partition import FOG_FACTOR, Bounds, Objective
from optimizer.recipe.executor import ExecutorConfig
from optimizer.recipe.field import FieldConfig
from optimizer.recipe.search import SearchConfig
from optimizer.recipe_section import Amount, Natural, Positive, Ratio, Section

MIN_VERIFY_WINDOWS = 64
ComparedMethod = Literal["random", "no_partition", "partition_after", "parameters", "flops"]


class NetworkConfig(Section, frozen=True, omit_defaults=True):
    """Section [network]: the 1-D network, one entry per map, the first being the input."""

    lengths: tuple[LengthGene, ...]
    """Length of each map; a shorter one is made by a convolution, a longer one by a transposed
    convolution, and 0 leaves the layer out."""
    channels: tuple[Size, ...]
    """Channels of each map, as many as lengths."""
    kernels: tuple[Multiple, ...] = ()
    """Kernel of each map's layer as a multiple of its stride or, less than 1, a part of it, as many
    as lengths and 1 for the input; none means that every kernel equals its stride."""

    def __post_init__(self) -> None:
        self.genome(1)

    def genome(self, classes: int) -> Genome:
        """Return the network's description with an output per class."""
        return Genome(self.lengths, self.channels, classes, self.kernels)


class AugmentConfig(Section, frozen=True):
    """Section [train.augment]: small changes of each training window, drawn anew every epoch."""

    shift: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Most samples by which a window is moved either way; its ends are repeated."""
    stretch: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.0
    """Largest relative change of the pace, from the window's start on."""
    gain: Ratio = 0.0
    """Largest relative change of the amplitude."""
    noise: Amount = 0.0
    """Standard deviation of added Gaussian noise, in the units of the model's input."""


class TeacherConfig(Section, frozen=True):
    """Section [train.teacher]: larger networks that the run trains first.

    What they say of a window, as it was changed for the pass, is aimed at besides its label.
    Source: Hinton et al., arXiv:1503.02531, at temperature 1.
    """

    network: NetworkConfig
    """Section [train.teacher.network]: one teacher, as [network] says the network; it takes the
    same windows."""
    members: Annotated[int, msgspec.Meta(ge=1, le=100)] = 1
    """Teachers, each from other first weights; the mean of what they say is taught."""
    share: Ratio = 0.7
    """Weight of what they say against that of the label."""
    epochs: Annotated[int, msgspec.Meta(ge=1, le=10_000)] | None = None
    """Passes of each teacher's training; none given means as many as the network's."""


class TrainConfig(Section, frozen=True):
    """Section [train]."""

    epochs: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 20
    """Passes over the training windows."""
    batch: Positive = 64
    """Windows of one optimiser step; the odd rest of a pass is left out, another one each time."""
    learning_rate: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.004
    """Step size of Adam at the start."""
    schedule: Literal["constant", "cosine"] = "cosine"
    """Whether the step size stays or falls to zero over the run along half a cosine."""
    warm_up: Natural = 0
    """Passes over which the step size rises to what it would be, from nearly nothing; with a full
    step at once some narrow networks lose all their ReLUs and never learn."""
    balance: Literal["none", "root", "weight", "sample"] = "weight"
    """What evens out unequal classes: nothing; weights in the loss by which the square roots of
    their counts count (root), or all alike (weight); or drawing rare windows more often."""
    select: Literal["accuracy", "macro_f1", "loss", "last"] = "macro_f1"
    """Figure on the validation split by which the best epoch is chosen; last takes the last."""
    augment: AugmentConfig = AugmentConfig()
    """Small changes of the training windows; off by default."""
    teacher: TeacherConfig | None = None
    """Networks to learn from besides the labels; off by default."""
    quantise: bool = False
    """Whether the map that will cross is quantised in training as it will be on the wire."""


class PartitionConfig(Section, frozen=True):
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
    """Wire encodings offered: float32 (always), float16, int8 and int4, which only where named."""
    accuracy_floor: Annotated[float, msgspec.Meta(gt=0, le=1)] | None = None
    """Least accuracy on the validation windows of an encoding that agents may pick at a point; it
    travels in the bundle, and the chosen point keeps it too. None lets them pick any."""
    bounds: Bounds = Bounds()
    """Section [partition.bounds]: limits that the chosen point must keep."""

    def __post_init__(self) -> None:
        if Encoding.FLOAT32 not in self.encodings:
            raise ValueError("encodings must hold float32")


class CompareConfig(Section, frozen=True):
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
    vgg_width: Annotated[int, msgspec.Meta(ge=0, le=64)] = 16
    """Channels of the first convolution of the one-dimensional VGG11; 64 is VGG11's own, and takes
    about 15 times as long to train as 16; 0 leaves it out."""
    vgg_epochs: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 20
    """Passes of its training; the rest of it is as [train] says."""
    vgg_learning_rate: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.001
    """Step size of its training."""
    printed: Literal["auto", "arrhythmia", "seizure", "none"] = "auto"
    """Whose printed figures of the energy-aware NAS paper are added; `auto`: those for the data."""


class ExportConfig(Section, frozen=True):
    """Section [export]."""

    opset: Annotated[int, msgspec.Meta(ge=13, le=18)] = 17
    """ONNX operator set of the segments."""
    verify_windows: Annotated[int, msgspec.Meta(ge=MIN_VERIFY_WINDOWS)] = 256
    """Real windows on which the chain of segments must equal the Keras model."""
    test_windows: Positive = 2000
    """Most windows of the test split written to test.npz."""


class StatisticsConfig(Section, frozen=True):
    """Section [statistics]: train the network again to see how far its figures depend on chance."""

    seeds: Natural = 5
    """Trainings on the run's own split, with the recipe's seed and those after it."""
    splits: Natural = 5
    """Further splits of the data, drawn with the seeds after the data's own, a training on each."""


class Recipe(Section, frozen=True):
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
    field: FieldConfig | None = None
    """What it learns from agents that are at work; nothing without this section."""
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
        self._check_teacher()
        if self.search is None:
            return
        if len(self.network.lengths) == 1:
            raise ValueError("search has nothing to change in a network without hidden layers")
        if not isinstance(self.partition.points, str):
            raise ValueError("search makes many networks: points must be 'auto' or 'all'")

    def _check_teacher(self) -> None:
        if self.train.teacher is None:
            return
        if self.search is not None and self.search.inputs:
            raise ValueError("teachers take one input: [[search.inputs]] cannot offer others")
        own, teacher = self.network, self.train.teacher.network
        expected = own.lengths[0], own.channels[0]
        if (received := (teacher.lengths[0], teacher.channels[0])) != expected:
            raise ValueError(
                f"the teachers' input must have the network's length and channels {expected},"
                f" received {received}"
            )

    def steps(self, index: int = 0) -> tuple[Step, ...]:
        """Return the window steps of an input: 0 is the recipe's own, others a search's in turn."""
        if not index:
            return self.preprocess
        assert self.search is not None, "it has the others"
        return self.search.inputs[index - 1].preprocess


def read_recipe(path: Path, seed: int | None = None, version: str = "") -> Recipe:
    """Read and check a recipe; `seed` and `version`, where given, replace its own.

    Raises:
        ConfigError: If the file cannot be read or breaks a rule; names the file and the key.
    """
    recipe = read_toml(path, Recipe)
    if seed is not None:
        recipe = msgspec.structs.replace(recipe, seed=seed)
    if version:
        recipe = msgspec.structs.replace(recipe, version=version)
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

    Without the paths of the data and of captured inputs: where a file lies on one machine says
    nothing, its fingerprint does.
    Nor does it say where networks were trained, or what the one was compared with.
    """
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(recipe))
    plain["data"].pop("path")
    plain.pop("executor")
    plain.pop("compare")
    drop_unset_floor(plain)
    if recipe.search is None:
        plain.pop("search")
    if recipe.field is None:
        plain.pop("field")
    else:
        for where in ("prometheus", "captured", "labels"):
            plain["field"].pop(where)
    if found is not None:
        plain["found"] = msgspec.json.decode(msgspec.json.encode(found))
        if index:
            steps = msgspec.json.decode(msgspec.json.encode(recipe.steps(index)))
            plain["found"]["preprocess"] = steps
    return plain


def drop_unset_floor(plain: dict[str, Any]) -> None:
    """Leave out a floor that is not set, so that the digest is what it was before floors."""
    if plain["partition"]["accuracy_floor"] is None:
        plain["partition"].pop("accuracy_floor")


def parse_seed(text: str) -> int:
    """Return a seed given as a flag.

    Raises:
        ConfigError: If it is no number from 0 to 2^32 - 1.
    """
    if not re.fullmatch(r"[0-9]{1,10}", text) or int(text) >= 2**32:
        raise ConfigError("--seed", f"expected a number from 0 to {2**32 - 1}, received '{text}'")
    return int(text)


def parse_version(text: str) -> str:
    """Return a version given as a flag.

    Raises:
        ConfigError: If it is not numbers with dots.
    """
    try:
        return msgspec.convert(text, Version)
    except msgspec.ValidationError:
        raise ConfigError(
            "--bundle-version", f"expected numbers with dots, as 1.2, received '{text[:40]}'"
        ) from None
