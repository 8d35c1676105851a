"""Sections of a recipe about image models: backbone, augmentation, training."""

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec

from optimizer.recipe_section import Natural, Positive, Section

Option = bool | int | float | str


class BackboneConfig(Section, frozen=True):
    """Section [backbone]: the network under the new classification head."""

    network: str = "MobileNetV2"
    """A network of keras.applications by its name (InceptionV3, VGG16, MobileNetV2, ResNet50 and
    so on), `SmallResNet` for images of few pixels, or the path of a `.keras` file, whose
    classification head is replaced."""
    weights: str = "none"
    """`imagenet` downloads those of keras.applications, a path loads a file of weights without the
    top, and `none` draws them at random or keeps those of a `.keras` file."""
    options: Mapping[str, Option] = {}
    """What else the network takes, by its own names: alpha of MobileNetV2; blocks, width and
    stride of SmallResNet."""
    preprocessing: Literal["family", "unit"] = "family"
    """How pixels enter: the model takes them in [0, 1] and brings them into the family's own range
    itself, or hands them on as they are."""
    frozen: bool = False
    """Whether the first training changes the new head alone."""
    hidden: Natural = 0
    """Units of a dense layer in the head, ahead of the classes; 0 leaves it out."""
    dropout: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.0
    """Share of the head's inputs left out of each training step."""


class ImageAugmentConfig(Section, frozen=True):
    """Section [train.augment]: changes of each training image, drawn anew every epoch."""

    flip: Literal["none", "horizontal", "both"] = "horizontal"
    """Axes along which an image is mirrored every other time."""
    rotation_degrees: Annotated[float, msgspec.Meta(ge=0, le=180)] = 0.0
    """Largest angle by which an image is turned either way; its edge pixels are repeated."""
    shift: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.0
    """Largest move along each axis either way, as a share of the side; edge pixels are repeated."""


class ImageTrainConfig(Section, frozen=True):
    """Section [train] of an image model."""

    epochs: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 10
    """Passes over the training images."""
    batch: Positive = 20
    """Images of one optimiser step; the odd rest of a pass is left out, another one each time."""
    learning_rate: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.001
    """Step size of Adam at its largest."""
    schedule: Literal["constant", "cosine"] = "cosine"
    """Whether the step size stays or falls to zero over the run along half a cosine."""
    warm_up: Natural = 0
    """Passes over which the step size rises to what it would be, from nearly nothing."""
    weight_decay: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.0
    """Share of the step size by which kernels shrink in each step, as AdamW does."""
    label_smoothing: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.0
    """Share of each label given to all classes alike."""
    balance: Literal["none", "weight", "sample"] = "weight"
    """What evens out unequal classes: nothing, weights in the loss, or drawing rare images more
    often."""
    select: Literal["accuracy", "macro_f1", "loss", "last"] = "accuracy"
    """Figure on the validation split by which the best epoch is chosen; last takes the last."""
    augment: ImageAugmentConfig = ImageAugmentConfig()
    """Changes of the training images."""
