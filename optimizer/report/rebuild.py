"""The drawings that a run's history and recipe alone bring back: of its search and its training."""

from pathlib import Path

import msgspec

from headtail.errors import ConfigError
from optimizer.recipe.recipe import read_recipe
from optimizer.report.search import draw_search
from optimizer.report.training import draw_training
from optimizer.run_folder import HISTORY
from optimizer.search.history import read_history
from optimizer.training.training import Epoch


def rebuild(folder: Path) -> dict[str, str]:
    """Draw search and training anew from `history.jsonl` and `recipe.toml` of a run's folder.

    Returns:
        SVG texts by name, as `draw_search` and `draw_training` name them; of what did not happen
        there are none.

    Raises:
        ConfigError: If one of the two files cannot be read.
    """
    recipe = read_recipe(folder / "recipe.toml")
    if not (folder / HISTORY).exists():
        return {}
    plots = draw_search(read_history(folder / HISTORY), recipe)
    epochs = read_epochs(folder / HISTORY)
    return plots | (draw_training(epochs, recipe.train) if epochs else {})


def read_epochs(path: Path) -> tuple[Epoch, ...]:
    """Return the epochs of the last training that a history tells of, none where there is none.

    Raises:
        ConfigError: If a line but the last cannot be read; names it.
    """
    epochs: list[Epoch] = []
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], start=1):
        try:
            record = msgspec.json.decode(line, type=dict[str, object])
            event = record.pop("event", None)
            if event == "training":
                epochs.clear()  # an interrupted one begins anew
            elif event == "epoch":
                epochs.append(msgspec.convert(record, Epoch))
        except msgspec.DecodeError as error:
            raise ConfigError(str(path), f"line {number} cannot be read: {error}") from error
    return tuple(epochs)
