"""The partition points of an image model: cut, priced with the recipe's profiles, one chosen."""

from dataclasses import dataclass

import keras
import numpy as np

from headtail.bundle.manifest import Point
from headtail.preprocess.pipeline import Pipeline
from headtail.tensor import Array
from optimizer.cut.cut import CutModel, cut_model, legal_cuts, select_cuts
from optimizer.cut.graph import Graph, read_graph
from optimizer.data.dataset import Dataset, Split
from optimizer.images.backbone import preprocess_steps
from optimizer.keras_onnx import export_keras
from optimizer.package.points import Profiles, Windows, build_points
from optimizer.partition import (
    Bounds,
    Choice,
    Row,
    before_training,
    choose,
    list_rows,
    with_floor,
    within_device,
)
from optimizer.recipe.image import ImageRecipe
from optimizer.verify import MIN_WINDOWS

CALIBRATION_IMAGES, SAMPLE_IMAGES = 128, 8
MAX_ACTIVATION_BYTES = 1 << 30
"""Of the labelled images at all points together, which are kept while encodings are measured."""


@dataclass(frozen=True, slots=True)
class ImagePricing:
    """What the points of an image model are priced with and held against."""

    recipe: ImageRecipe
    profiles: Profiles

    def cut(self, content: bytes) -> tuple[Graph, CutModel]:
        """Cut an exported model as the recipe says."""
        graph = read_graph(content)
        cuts = select_cuts(legal_cuts(graph), self.recipe.partition.points)
        return graph, cut_model(graph, cuts)

    def points(self, cut: CutModel, train: Split, validation: Split) -> tuple[Point, ...]:
        """Return the priced points with the encodings that the recipe offers.

        Args:
            cut: The model, verified.
            train: Raw images of which some calibrate the encodings.
            validation: Raw images of which some show what each encoding does to the accuracy.
        """
        name = cut.inputs[0].name
        count = min(self.recipe.export.accuracy_images, _fitting(cut))
        labelled = spread(validation, count)
        windows = Windows(
            samples={name: as_inputs(in_turns(validation, SAMPLE_IMAGES).x)},
            calibration={name: as_inputs(spread(train, CALIBRATION_IMAGES).x)},
            labelled={name: as_inputs(labelled.x)} if count else None,
            labels=labelled.y if count else None,
        )
        return build_points(cut, windows, self.profiles, self.recipe.partition.encodings)

    def choose(self, points: tuple[Point, ...], bounds: Bounds | None = None) -> Choice:
        """Return the best point and encoding.

        Raises:
            SearchError: If none is within the bounds, or the objective cannot be predicted.
        """
        partition = self.recipe.partition
        kept = self._bounds if bounds is None else bounds
        return choose(points, kept, partition.objective, *self._names, partition.fog_factor)

    def check(self, model: keras.Model, dataset: Dataset) -> None:
        """Raise what `choose` would raise after the training, as far as it can be known now.

        Of a model that will be pruned nothing is known: it costs less then.
        """
        if self.recipe.prune is not None or self.recipe.partition.bounds == Bounds():
            return
        _, cut = self.cut(export_keras(model, self.recipe.export.opset))
        few = spread(dataset.validation, 1)
        points = self.points(cut, few, few)
        self.choose(points, before_training(self._bounds))

    def rows(self, points: tuple[Point, ...]) -> tuple[Row, ...]:
        """Return every point with every encoding, priced and held against the bounds."""
        return list_rows(points, self._bounds, *self._names, self.recipe.partition.fog_factor)

    @property
    def _bounds(self) -> Bounds:
        partition = self.recipe.partition
        kept = with_floor(partition.bounds, partition.accuracy_floor)
        return within_device(kept, self.profiles.devices[0])

    @property
    def _names(self) -> tuple[str, str]:
        return self.profiles.devices[0].name, self.profiles.links[0].name


def verification(validation: Split, train: Split, count: int) -> Array:
    """Return model inputs on which the export is verified, of images that training did not fit.

    Where those are too few, training images make up the number; where there are no more, these
    are repeated.
    """
    images = spread(validation, count).x
    if len(images) < MIN_WINDOWS:
        images = np.concatenate([images, train.x])[:MIN_WINDOWS]
    return as_inputs(images[np.arange(max(MIN_WINDOWS, len(images))) % len(images)])


def as_inputs(images: Array) -> Array:
    """Return raw images as the model takes them, by the steps that the edge runs too.

    Args:
        images: uint8, shape (N, H, W, 3).

    Returns:
        float32, the same shape.
    """
    pipeline = Pipeline(preprocess_steps(*images.shape[1:3]))
    inputs = np.empty(images.shape, np.float32)
    for i, image in enumerate(images):
        inputs[i] = pipeline.window(image)
    return inputs


def spread(split: Split, count: int) -> Split:
    """Return at most `count` images, spread evenly over a split."""
    if len(split) <= count:
        return split
    chosen = np.linspace(0, len(split) - 1, count).round().astype(np.int64)
    return Split(split.x[chosen], split.y[chosen])


def in_turns(split: Split, count: int) -> Split:
    """Return at most `count` images of a split, the classes in turn, in their order."""
    turns = np.empty(len(split), np.int64)
    for label in np.unique(split.y):
        members = np.flatnonzero(split.y == label)
        turns[members] = np.arange(len(members))
    chosen = np.sort(np.lexsort((split.y, turns))[:count])
    return Split(split.x[chosen], split.y[chosen])


def _fitting(cut: CutModel) -> int:
    """Return how many images' activations at all points fit in memory."""
    crossing = [*cut.inputs, *(spec for segment in cut.segments for spec in segment.outputs)]
    return int(MAX_ACTIVATION_BYTES // sum(spec.window_bytes for spec in crossing))
