"""Small image folders for the tests."""

from pathlib import Path

import numpy as np
from PIL import Image

from headtail.tensor import Array


def draw(path: Path, seed: int, size: tuple[int, int] = (12, 10)) -> Array:
    """Write a PNG of `size` (width, height) with random pixels; return them as (H, W, 3)."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return pixels


def draw_classes(folder: Path, counts: dict[str, int], size: tuple[int, int] = (12, 10)) -> Path:
    """Write `counts` images into a folder per class; return `folder`."""
    for number, (label, count) in enumerate(counts.items()):
        for i in range(count):
            draw(folder / label / f"{i:03}.png", 1000 * number + i, size)
    return folder
