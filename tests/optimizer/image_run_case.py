"""Whole runs of a small recipe on images that tell colours apart; for several tests."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from optimizer.progress import Advance

if TYPE_CHECKING:
    from optimizer.report.images.summary import ImageSummary
    from optimizer.run.opening import RunResult

SIDE = 12
COLOURS = {"blue": (40, 60, 200), "green": (60, 190, 70), "red": (200, 50, 60)}
BUNDLE = "colours-1.bundle"
RECIPE = """
name = "colours"
version = "1"
task = "which colour"
seed = 3
[data]
source = "images"
path = "{folder}"
images = {{ height = 12, width = 12 }}
[backbone]
network = "{network}"
{backbone}
[train]
epochs = 2
batch = 12
learning_rate = 0.01
[export]
verify_windows = 64
{more}
"""
SMALL = "options = { width = 4 }"
FREEZE = """
[freeze]
population = 4
generations = 1
always = ["head_logits"]
[freeze.train]
epochs = 1
batch = 12
[freeze.energy]
flops_per_s = 1e9
[fine_tune]
epochs = 1
batch = 12
"""
PRUNE = """
[prune]
macs_share = 0.5
steps = 2
images = 24
{more}
[prune.fine_tune]
epochs = 1
batch = 12
"""


class Stopped(Exception):
    """A run was ended from outside."""


class Stopper:
    """A reporter that ends a run at the n-th look at the progress of a stage, and takes notes."""

    def __init__(self, stage: str = "", after: int = 0) -> None:
        self.stage_name, self.left = stage, after
        self.said: list[str] = []
        self.stages: list[str] = []

    def say(self, text: str) -> None:
        """Take note of a line."""
        self.said.append(text)

    @contextmanager
    def stage(self, name: str) -> Iterator[Advance]:
        """Take note of a stage, and end the run in it if it is the one."""
        self.stages.append(name)

        def advance(done: int, total: int, note: str) -> None:
            assert 0 <= done <= total
            if name == self.stage_name:
                self.left -= 1
                if self.left < 0:
                    raise Stopped

        yield advance


def draw_colours(folder: Path, count: int = 30) -> Path:
    """Write a folder of noisy images per colour; return `folder`."""
    rng = np.random.default_rng(5)
    for label, colour in COLOURS.items():
        (folder / label).mkdir(parents=True)
        for i in range(count):
            pixels = np.clip(rng.normal(colour, 60, (SIDE, SIDE, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{i:03}.png")
    return folder


def write_recipe(
    folder: Path, images: Path, more: str = "", network: str = "SmallResNet", backbone: str = SMALL
) -> Path:
    """Write a recipe and return its path."""
    path = folder / "recipe.toml"
    text = RECIPE.format(folder=images, network=network, backbone=backbone, more=more)
    path.write_text(text, encoding="utf-8")
    return path


def run(
    recipe: Path, out: Path, key_folder: Path, reporter: Stopper | None = None
) -> "RunResult[ImageSummary]":
    """Run a recipe in this process."""
    from optimizer.chatter import load_tensorflow

    load_tensorflow()
    from optimizer.run.image_run import run_image_recipe
    from optimizer.run.opening import RunRequest

    request = RunRequest(recipe, out, key_folder / "test.key")
    return run_image_recipe(request, reporter or Stopper())
