"""A small comparison: three classes of drawn images, two convolutions, every method."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from images_case import draw_classes

RECIPE = """
name = "small-rivals"
version = "1"
task = "noise"
seed = 3

[data]
source = "images"
path = "{data}"
images = {{ height = 8, width = 8 }}

[backbone]
network = "{network}"

[train]
epochs = 1
batch = 8
select = "last"

[rivals]
methods = {methods}
seeds = {seeds}
calibration_images = 9
lasso_epochs = 1
allocations = ["global", "cost"]
rounds = 5
fine_tune = {{ epochs = 2, batch = 8, select = "last" }}

[rivals.freeze]
always = ["head_logits"]
population = 4
elite = 2
generations = 0
train = {{ epochs = 1, batch = 8, windows = 8 }}
"""


def write_recipe(folder: Path, methods: list[str], seeds: int = 1) -> Path:
    """Draw images, build a backbone, and write a recipe that uses them; return its path."""
    import keras

    draw_classes(folder / "images", {"a": 12, "b": 12, "c": 12})
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(8, 3, use_bias=False, name="first")(inputs)
    x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.layers.ReLU(name="relu")(x)
    x = keras.layers.Conv2D(8, 3, use_bias=False, name="second")(x)
    x = keras.layers.BatchNormalization(name="second_norm")(x)
    keras.Model(inputs, x).save(folder / "backbone.keras")
    path = folder / "recipe.toml"
    names = {"data": folder / "images", "network": folder / "backbone.keras"}
    path.write_text(RECIPE.format(**names, methods=str(methods).replace("'", '"'), seeds=seeds))
    return path


class KilledError(Exception):
    """The process ends here."""


class Quiet:
    """A reporter that keeps what is said, and ends the process at a line, where one is given."""

    def __init__(self, last: str = "") -> None:
        self.lines: list[str] = []
        self._last = last

    def say(self, text: str) -> None:
        """Keep a line."""
        self.lines.append(text)
        if self._last and text.startswith(self._last):
            raise KilledError(text)

    @contextmanager
    def stage(self, name: str) -> Iterator[object]:
        """Show nothing."""
        yield lambda done, total, note: None
