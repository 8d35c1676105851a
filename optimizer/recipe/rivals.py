"""What a recipe says of rivals: ways to make an image model cheaper, all given the same chance."""

from pathlib import Path
from typing import Annotated, Literal, get_args

import msgspec

from headtail.config import read_toml
from optimizer.freeze.config import FreezeConfig
from optimizer.images.config import ImageTrainConfig
from optimizer.recipe.image import ImageRecipe
from optimizer.recipe_section import Amount, Natural, Positive, Ratio, Section

Criterion = Literal["gradcam", "l1", "l2", "lasso", "taylor", "gamma", "random"]
Freezing = Literal["evolved_freeze", "random_freeze"]
Method = Criterion | Freezing | Literal["quantise"]
Allocation = Literal["global", "cost", "layer", "uniform"]
CRITERIA: tuple[Criterion, ...] = get_args(Criterion)
METHODS: tuple[Method, ...] = (*CRITERIA, *get_args(Freezing), "quantise")


class RivalsConfig(Section, frozen=True):
    """Section [rivals]: what is held against Grad-CAM pruning, and what all of them are given.

    Each starts from the same trained network and may train for `fine_tune` epochs. Two rows are
    always there: the network as it was trained, and trained on for as many epochs.
    """

    methods: tuple[Method, ...] = METHODS
    """Pruning by an importance: gradcam, l1, l2, lasso (group lasso as a penalty, then l2), taylor,
    gamma (the scale of batch normalisation), random. Training some layers only: evolved_freeze
    (chosen as [rivals.freeze] says) and random_freeze (as many, drawn at random). quantise: int8
    after training."""
    seeds: Annotated[int, msgspec.Meta(ge=1, le=100)] = 3
    """Networks that are trained and handed to every method; the first has the recipe's seed."""
    macs_share: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.5
    """Most multiply-accumulates that pruning leaves, as a share of the whole network's."""
    multiple: Annotated[int, msgspec.Meta(ge=1, le=1024)] = 1
    """Numbers of channels are multiples of this, as far as a group is that wide."""
    min_share: Ratio = 0.0
    """Least share of its channels that each group keeps; one always stays."""
    allocations: Annotated[tuple[Allocation, ...], msgspec.Meta(min_length=1)] = ("global",)
    """How channels of different layers are compared: by importance, each criterion as it is made
    for that (global), by importance for each multiply-accumulate that goes with the channel (cost),
    relative to the layer's largest (layer), or by rank, the same share of each layer (uniform).
    Of several the one is taken whose network loses least on the calibration images before it is
    trained."""
    steps: Annotated[int, msgspec.Meta(ge=1, le=100)] = 1
    """Prunings, each followed by its part of the epochs; each takes the same share of what is
    left."""
    heatmap: Literal["positive", "absolute"] = "positive"
    """Whether Grad-CAM counts what speaks against a class as well (absolute)."""
    calibration_images: Positive = 512
    """Training images, drawn at random, on which importances and ranges of int8 are measured."""
    lasso_epochs: Natural = 2
    """Of the epochs of the group lasso, those ahead of pruning, under the penalty."""
    lasso_strength: Amount = 1e-4
    """Weight of that penalty in the loss."""
    teacher_share: Ratio = 0.0
    """Weight in the loss of fine-tuning of what the unpruned network says of an image, against the
    label's; the same for every method."""
    power: str = "generic-x86"
    """Power under load that prices a training: `tosim-t4` for the paper's 74 W, or a device profile
    of CPU time."""
    rounds: Annotated[int, msgspec.Meta(ge=5, le=10_000)] = 60
    """Timed inferences of each model in onnxruntime."""
    fine_tune: ImageTrainConfig = ImageTrainConfig()
    """Section [rivals.fine_tune]: what every method may train, all its steps together."""
    freeze: FreezeConfig = FreezeConfig(limit=0.5)
    """Section [rivals.freeze]: how evolved_freeze chooses; `limit` is its share of the cost."""

    def __post_init__(self) -> None:
        if len(set(self.methods)) != len(self.methods):
            raise ValueError("methods: expected each once")
        if self.fine_tune.epochs < self.steps:
            raise ValueError("fine_tune must have an epoch for each of the steps")
        if "lasso" in self.methods and self.fine_tune.epochs < self.lasso_epochs + self.steps:
            raise ValueError("fine_tune must have more epochs than lasso_epochs and steps")


class RivalsRecipe(ImageRecipe, frozen=True):
    """The recipe of an image model, with rivals of its pruning.

    Of the sections of an image model [backbone], [data] and [train] count.
    """

    rivals: RivalsConfig = RivalsConfig()
    """What is compared."""

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seed of each network."""
        return tuple((self.seed + i) % 2**32 for i in range(self.rivals.seeds))


def read_rivals_recipe(path: Path) -> RivalsRecipe:
    """Read and check a recipe.

    Raises:
        ConfigError: If the file cannot be read or breaks a rule; names the file and the key.
    """
    return read_toml(path, RivalsRecipe)
