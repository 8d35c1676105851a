"""Test images with what speaks for their class laid over them, embedded in the page."""

import base64
import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

from headtail.tensor import Array
from optimizer.report.template import escape

# Dark to bright, red, green and blue from 0 to 255: black, violet, red, orange, yellow.
_RAMP = np.array([(0, 0, 10), (90, 20, 110), (200, 50, 70), (250, 150, 30), (250, 250, 160)])
SIDE = 144
"""Least height of a picture in the page, in pixels; smaller images are enlarged."""
STYLE = """\
<style>
.pictures { display: grid; gap: .9rem;
  grid-template-columns: repeat(auto-fill, minmax(11rem, 1fr)); }
.pictures figure { overflow: hidden; }
.pictures div { display: grid; grid-template-columns: 1fr 1fr; gap: 2px; }
.pictures img { width: 100%; display: block; image-rendering: pixelated; }
.pictures figcaption { font-size: .8rem; color: #6b7280; margin-top: .2rem; }
.pictures b { color: #1f2937; font-weight: 600; }
.pictures .wrong { color: #b91c1c; }
</style>
"""


@dataclass(frozen=True, slots=True)
class Heatmap:
    """One test image, what the model says of it, and where that comes from."""

    image: Array
    """uint8, shape (H, W, 3)."""
    heat: Array
    """For the class that the model gives, float32 from 0 to 1, shape (H, W)."""
    label: str
    given: str
    share: float
    """Of that class, 0 to 1."""


def pictures(heatmaps: tuple[Heatmap, ...]) -> str:
    """Return the images beside the same with their heatmaps, as HTML that holds all of them."""
    return f'{STYLE}<div class="pictures">{"".join(map(_picture, heatmaps))}</div>\n'


def overlay(image: Array, heat: Array) -> Array:
    """Return an image with a heatmap over it: the warmer, the less is left of the image.

    Args:
        image: uint8, shape (H, W, 3).
        heat: From 0 to 1, shape (H, W).

    Returns:
        uint8, shape (H, W, 3).
    """
    places = np.linspace(0, 1, len(_RAMP))
    colours = np.stack([np.interp(heat, places, _RAMP[:, c]) for c in range(3)], axis=-1)
    weight = 0.35 + 0.4 * heat[..., None]
    blended: Array = np.rint((1 - weight) * image + weight * colours).astype(np.uint8)
    return blended


def png_uri(pixels: Array) -> str:
    """Return a picture as a data URI, enlarged to at least `SIDE` rows.

    Args:
        pixels: uint8, shape (H, W, 3).
    """
    times = max(1, -(-SIDE // pixels.shape[0]))
    enlarged = pixels.repeat(times, axis=0).repeat(times, axis=1)
    file = io.BytesIO()
    Image.fromarray(enlarged).save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")


def _picture(shown: Heatmap) -> str:
    images = "".join(
        f'<img src="{png_uri(pixels)}" alt="{escape(what)}">'
        for pixels, what in (
            (shown.image, shown.label),
            (overlay(shown.image, shown.heat), f"what speaks for {shown.given}"),
        )
    )
    mark = "" if shown.given == shown.label else ' class="wrong"'
    said = f"<span{mark}>{escape(shown.given)}</span>, {100 * shown.share:.0f} %"
    caption = f"<b>{escape(shown.label)}</b> taken for {said}"
    return f"<figure><div>{images}</div><figcaption>{caption}</figcaption></figure>"
