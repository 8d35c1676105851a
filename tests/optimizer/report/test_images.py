"""The report of a run on images: pictures that are inside the page, drawings of what was found."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from optimizer.freeze.record import FreezingRecord
from optimizer.freeze.training import FreezePass
from optimizer.prune.record import PrunedStep, PruneRecord
from optimizer.report.images.freezing import draw_mask, draw_passes
from optimizer.report.images.heatmaps import SIDE, Heatmap, overlay, pictures, png_uri
from optimizer.report.images.pruning import (
    Retained,
    draw_all_importances,
    draw_importance,
    draw_retained,
    draw_widths,
)
from optimizer.training.stage import StageRecord
from optimizer.training.training import Epoch

pytestmark = pytest.mark.tf
CONFUSION = [[3, 1], [0, 4]]


def decoded(uri: str) -> np.ndarray:
    """Return the pixels of a data URI."""
    kind, text = uri.split(",")
    assert "data:image/png;base64" == kind
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))


def test_a_picture_in_the_page_has_the_pixels_of_the_image() -> None:
    """Small ones are enlarged by whole numbers, without blurring."""
    image = np.random.default_rng(1).integers(0, 256, (32, 24, 3), np.uint8)
    shown = decoded(png_uri(image))
    assert shown.shape[0] >= SIDE
    np.testing.assert_array_equal(image, shown[2::5, 2::5])


def test_overlay_is_brightest_where_the_heat_is() -> None:
    """Cold places keep most of the image."""
    image = np.full((4, 4, 3), 100, np.uint8)
    heat = np.zeros((4, 4), np.float32)
    heat[1, 2] = 1
    shown = overlay(image, heat)
    assert (1, 2) == np.unravel_index(shown.sum(-1).argmax(), (4, 4))
    assert tuple(np.rint(0.65 * 100 + 0.35 * np.array([0, 0, 10]))) == tuple(shown[0, 0])


def test_pictures_name_what_was_taken_for_what_and_escape_it() -> None:
    """Labels are names of folders, which hold anything."""
    image, heat = np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8), np.float32)
    page = pictures((Heatmap(image, heat, "<b>", "cat & dog", 0.75),))
    assert "&lt;b&gt;</b> taken for" in page
    assert "cat &amp; dog</span>, 75 %" in page
    assert 2 == page.count('src="data:image/png;base64,')
    assert "http" not in page


def make_freezing() -> FreezingRecord:
    """Return a record of three layers."""
    return FreezingRecord(
        layers=("a", "b", "c"),
        parameters=(10, 1000, 0),
        mask="011",
        passes=(FreezePass(1, 0.7, 2.0), FreezePass(2, 0.4, 1.0)),
        cached_bytes=1 << 20,
        flops=1e6,
        whole_flops=4e6,
        validation=CONFUSION,
        test=CONFUSION,
    )


def test_the_mask_has_a_bar_for_every_layer() -> None:
    """What it says of each is in its hover text."""
    drawn = draw_mask(make_freezing())
    assert "a\n10 parameters, frozen" in drawn
    assert "b\n1,000 parameters, trained on" in drawn
    assert "c\n0 parameters, trained on" in drawn
    assert "pass 2\nloss 0.4" in draw_passes([(1, 0.7), (2, 0.4)])


def make_pruned() -> PruneRecord:
    """Return a record of one step over two groups."""
    training = StageRecord(
        (Epoch(1, 0.5, 0.6, 0.875, 0.87),), (1.5,), 1, validation=CONFUSION, test=CONFUSION
    )
    return PruneRecord(
        criterion="gradcam",
        macs=1000,
        parameters=200,
        channels=6,
        steps=(PrunedStep(500, 90, 3, 0.875, training),),
        model="pruning/step-1.keras",
        is_complete=True,
        importance={"stem": (0.5, 0.0, 1.0, 0.1), "next": (0.2, 0.3)},
        keep={"stem": (0, 2), "next": (1,), "tied": (0, 1, 2)},
    )


def test_drawings_of_pruning_say_what_is_left() -> None:
    """Of every group; importances of zero have a place on the log scale too."""
    record = make_pruned()
    widths = draw_widths(record)
    assert "stem\n2 of 4 channels are left" in widths
    assert "tied\n3 of 3 channels are left" in widths
    assert "next\n1 of 2 channels are left" in draw_importance(record)
    assert 6 == len(re.findall("<circle", draw_all_importances(record)))
    drawn = draw_retained(
        [Retained(1.0, 0.9, 200, "before", False), Retained(0.5, 0.875, 90, "step 1", True)]
    )
    assert "step 1: 50 % of the channels\n87.5 %, 90 parameters" in drawn["accuracy"]
    assert "<polygon" in drawn["size"]
