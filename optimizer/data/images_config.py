"""How a data set of images is read and dealt: section [data.images]."""

from typing import Annotated, Literal

import msgspec

from optimizer.recipe_section import Ratio, Section

Side = Annotated[int, msgspec.Meta(ge=8, le=2048)]


class ImagesConfig(Section, frozen=True):
    """Section [data.images]: size, shares and fold of a data set of images."""

    height: Side = 224
    """Rows to which every image is brought, in pixels."""
    width: Side = 224
    """Columns to which every image is brought, in pixels."""
    train_ratio: Ratio = 0.6
    """Share of each class to learn from, where the protocol deals at random."""
    validation_ratio: Ratio = 0.2
    """Share of each class that chooses the epoch; the test takes the rest. Where the data brings
    its own test images and no validation images, this share of its training images."""
    fine_tune_ratio: Ratio = 0.0
    """Share of the training images of each class that is Dataset B, kept for fine-tuning after
    pruning; the others are Dataset A. 0 uses all images for both, as the paper's 60/20/20 does."""
    fold: Literal[0, 1, 2, 3, 4] = 0
    """Official fold of DeepWeeds, where the protocol is `given`."""

    def __post_init__(self) -> None:
        if min(self.train_ratio, self.validation_ratio) <= 0:
            raise ValueError("train_ratio and validation_ratio must be above 0")
        if self.train_ratio + self.validation_ratio >= 1:
            raise ValueError("train_ratio and validation_ratio must leave a share for the test")
        if self.fine_tune_ratio >= 1:
            raise ValueError("fine_tune_ratio must leave a share for the initial training")
