"""The test images that a report shows, with what the finished model looks at in each."""

import keras
import numpy as np

from headtail.errors import PruningError
from optimizer.data.dataset import Dataset
from optimizer.images.evaluate import Evaluator
from optimizer.images.heatmap import class_heatmaps
from optimizer.report.images.heatmaps import Heatmap
from optimizer.run.image_points import in_turns

SHOWN = 12


def draw_heatmaps(model: keras.Model, dataset: Dataset) -> tuple[Heatmap, ...]:
    """Return some test images, the classes in turn, with the heatmap of the class each is given.

    A model without feature maps has none.
    """
    shown = in_turns(dataset.test, SHOWN)
    shares = Evaluator(model).logits(shown.x)
    given = shares.argmax(axis=1)
    try:
        heats = class_heatmaps(model, shown.x, given)
    except PruningError:
        return ()
    labels = dataset.labels
    return tuple(
        Heatmap(image, heat, labels[y], labels[g], float(np.max(row)))
        for image, heat, y, g, row in zip(shown.x, heats, shown.y, given, shares, strict=True)
    )
