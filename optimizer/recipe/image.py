"""The recipe of an image model: a backbone, adapted, frozen in part, pruned, cut and bundled."""

from pathlib import Path
from typing import Annotated, Any

import msgspec

from headtail.bundle.manifest import Name, Version
from headtail.config import read_toml
from headtail.errors import ConfigError
from optimizer.data.dataset import DataConfig
from optimizer.freeze.config import FreezeConfig, FreezeTrainConfig
from optimizer.images.config import BackboneConfig, ImageTrainConfig
from optimizer.recipe.prune import PruneConfig
from optimizer.recipe.recipe import (
    ExportConfig,
    PartitionConfig,
    Recipe,
    drop_unset_floor,
    read_recipe,
)
from optimizer.recipe_section import Positive, Section

IMAGE_SOURCES = ("images", "deepweeds", "cifar10_small")


class ImagePartitionConfig(PartitionConfig, frozen=True):
    """Section [partition] of an image model: that of any model, for larger devices."""

    device_profile: str = "raspberry-pi-4"
    """Device that runs the head: a name of `optimizer profiles` or a .toml file."""
    link_profile: str = "ethernet"
    """Link between edge and fog: a name of `optimizer profiles` or a .toml file."""


class ImageExportConfig(ExportConfig, frozen=True):
    """Section [export] of an image model."""

    test_windows: Positive = 200
    """Most images of the test split written to test.npz."""
    accuracy_images: Positive = 500
    """Most validation images on which the accuracy of every encoding is measured; fewer where
    their activations would fill memory."""


class CostsConfig(Section, frozen=True):
    """Section [costs]: measure what training some layers, and keeping some channels, costs.

    Source: ToSiM-IoT, tables I and II, figures 5 to 9.
    """

    shares: Annotated[
        tuple[Annotated[float, msgspec.Meta(gt=0, le=1)], ...], msgspec.Meta(min_length=1)
    ] = (0.1, 0.5, 1.0)
    """Shares of trained layers, counted from the output, and of retained channels."""
    epochs: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 3
    """Passes of each training that is timed."""
    images: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Most training images of a pass, drawn at random; 0 takes all."""
    power: str = "tosim-t4"
    """Power under load that prices a training: `tosim-t4` for the paper's 74 W, or a device profile
    of CPU time."""
    rounds: Annotated[int, msgspec.Meta(ge=5, le=10_000)] = 30
    """Timed inferences of each model in onnxruntime."""


class ImageRecipe(Section, frozen=True):
    """A whole recipe of an image model."""

    name: Name
    """Name of the model and of the bundle."""
    version: Version
    """Version of the bundle, numbers with dots."""
    task: str
    """What the model tells apart, in a few words."""
    backbone: BackboneConfig
    """The network under the new classification head."""
    data: DataConfig
    """Images, with `source` one of images, deepweeds and cifar10_small."""
    seed: Annotated[int, msgspec.Meta(ge=0, lt=2**32)] = 0
    """Draws the first weights, the order of the images, their augmentation and the masks."""
    train: ImageTrainConfig = ImageTrainConfig()
    """The first training, on Dataset A."""
    freeze: FreezeConfig | None = None
    """How the layers to train on are chosen; without this section none are frozen."""
    fine_tune: FreezeTrainConfig = FreezeTrainConfig()
    """Section [fine_tune]: the training of the chosen layers, on Dataset A, with what lies below
    them computed once; nothing without [freeze]."""
    prune: PruneConfig | None = None
    """How channels are dropped; without this section none are."""
    costs: CostsConfig | None = None
    """What is measured besides; nothing without this section."""
    partition: ImagePartitionConfig = ImagePartitionConfig()
    """Where it is cut."""
    export: ImageExportConfig = ImageExportConfig()
    """How it is written."""

    def __post_init__(self) -> None:
        if self.data.source not in IMAGE_SOURCES:
            raise ValueError(
                f"a [backbone] takes images: data source must be one of {', '.join(IMAGE_SOURCES)},"
                f" received '{self.data.source}'"
            )
        if self.prune and self.prune.trains == "mask" and self.freeze is None:
            raise ValueError("prune trains 'mask': there is no [freeze] that chooses one")


AnyRecipe = Recipe | ImageRecipe


class _Kind(msgspec.Struct, frozen=True):
    """What tells the kinds of recipe apart; all other keys are passed over."""

    backbone: Any = None
    network: Any = None


def read_any_recipe(path: Path, seed: int | None = None, version: str = "") -> AnyRecipe:
    """Read and check a recipe of either kind: one with a [backbone] is of an image model.

    Args:
        path: The TOML file.
        seed: Replaces the recipe's, where given.
        version: Replaces the recipe's, where given.

    Raises:
        ConfigError: If the file cannot be read or breaks a rule; names the file and the key.
    """
    kind = read_toml(path, _Kind)
    if kind.backbone is None:
        return read_recipe(path, seed, version)
    if kind.network is not None:
        raise ConfigError(str(path), "expected a [backbone] or a [network], received both")
    return read_image_recipe(path, seed, version)


def read_image_recipe(path: Path, seed: int | None = None, version: str = "") -> ImageRecipe:
    """Read and check the recipe of an image model.

    Raises:
        ConfigError: If the file cannot be read or breaks a rule; names the file and the key.
    """
    recipe = read_toml(path, ImageRecipe)
    if seed is not None:
        recipe = msgspec.structs.replace(recipe, seed=seed)
    return msgspec.structs.replace(recipe, version=version) if version else recipe


def describe_image_recipe(recipe: ImageRecipe) -> dict[str, Any]:
    """Return the recipe as plain values for the lineage.

    Without paths, which say nothing elsewhere, and without what is only measured besides.
    """
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(recipe))
    plain["data"].pop("path")
    plain.pop("costs")
    drop_unset_floor(plain)
    backbone = plain["backbone"]
    backbone["network"] = Path(backbone["network"]).name
    backbone["weights"] = Path(backbone["weights"]).name
    return {name: value for name, value in plain.items() if value is not None}
