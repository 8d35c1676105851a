"""Recipes: what is read, and the one line that each mistake gives."""

from pathlib import Path

import pytest

from headtail.errors import ConfigError
from headtail.wire import Encoding
from optimizer.partition import Bounds, with_floor
from optimizer.recipe.image import read_any_recipe
from optimizer.recipe.recipe import (
    NetworkConfig,
    describe_recipe,
    parse_seed,
    parse_version,
    read_recipe,
)

RECIPES = Path(__file__).parents[2] / "recipes"
SMALL = """
name = "small"
version = "1.2"
task = "test"
seed = 4
[data]
source = "npz"
path = "/somewhere/x.npz"
[network]
lengths = [16, 4]
channels = [1, 2]
"""


def write(folder: Path, text: str) -> Path:
    """Write a recipe and return its path."""
    path = folder / "recipe.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("path", sorted(RECIPES.glob("[!r]*.toml")), ids=lambda p: p.stem)
def test_every_recipe_that_comes_with_the_project_can_be_read(path: Path) -> None:
    """They are the first thing a new user copies."""
    assert read_any_recipe(path).name


def test_small_recipe_has_defaults_for_the_rest(tmp_path: Path) -> None:
    """Only name, version, task and network must be there."""
    recipe = read_recipe(write(tmp_path, SMALL))
    assert recipe.partition.encodings == tuple(Encoding)[:3]
    assert (recipe.seed, recipe.train.epochs, recipe.partition.points) == (4, 20, "auto")


def test_given_seed_replaces_the_recipes(tmp_path: Path) -> None:
    """As --seed does."""
    assert read_recipe(write(tmp_path, SMALL), seed=9).seed == 9


def test_given_version_replaces_the_recipes(tmp_path: Path) -> None:
    """As --bundle-version does, in the lineage too."""
    recipe = read_recipe(write(tmp_path, SMALL), version=parse_version("1.3"))
    assert ("1.3", "1.3") == (recipe.version, describe_recipe(recipe)["version"])
    with pytest.raises(ConfigError, match="--bundle-version: expected numbers with dots"):
        parse_version("1.x")


def test_lineage_does_not_hold_the_path_of_the_data(tmp_path: Path) -> None:
    """The same data elsewhere must give the same digest."""
    described = describe_recipe(read_recipe(write(tmp_path, SMALL)))
    assert "path" not in described["data"]
    assert described["network"] == {"lengths": [16, 4], "channels": [1, 2]}


def test_floor_is_in_the_lineage_only_where_it_is_set(tmp_path: Path) -> None:
    """So that the digest without one is what it was; a bound on accuracy may be the stricter."""
    assert "accuracy_floor" not in describe_recipe(read_recipe(write(tmp_path, SMALL)))["partition"]
    recipe = read_recipe(write(tmp_path, SMALL + "\n[partition]\naccuracy_floor = 0.9"))
    assert describe_recipe(recipe)["partition"]["accuracy_floor"] == 0.9
    bounds = [Bounds(), Bounds(accuracy=0.95), Bounds(accuracy=0.8)]
    assert [0.9, 0.95, 0.9] == [with_floor(b, 0.9).accuracy for b in bounds]
    assert [None, 0.95, 0.8] == [with_floor(b, None).accuracy for b in bounds]


def test_recipe_without_a_search_says_nothing_of_one(tmp_path: Path) -> None:
    """So its lineage is what it was; one with a search also holds what was found."""
    assert "search" not in describe_recipe(read_recipe(write(tmp_path, SMALL)))
    recipe = read_recipe(write(tmp_path, SMALL + "\n[search]"))
    described = describe_recipe(recipe, NetworkConfig((16,), (1,)))
    assert described["search"]["channels"] == [1, 2, 3, 4]
    assert described["found"] == {"lengths": [16], "channels": [1]}


MISTAKES = {
    "unknown key": (SMALL + "\n[train]\nepoch = 3", r"unknown field `epoch` - at `\$.train`"),
    "unknown section": (SMALL + "\n[trian]\nepochs = 3", "unknown field `trian`"),
    "unknown bound": (SMALL + "\n[partition.bounds]\nflash = 1", "unknown field `flash`"),
    "missing name": (SMALL.replace('name = "small"', ""), "missing required field `name`"),
    "bad name": (SMALL.replace("small", "Small Net"), r"\$.name"),
    "lists of two lengths": (SMALL.replace("[1, 2]", "[1]"), "must be equally many"),
    "lengths that do not divide": (SMALL.replace("[16, 4]", "[16, 5]"), "neither divides"),
    "zero epochs": (SMALL + "\n[train]\nepochs = 0", r"\$.train.epochs"),
    "no float32": (SMALL + '\n[partition]\nencodings = ["int8"]', "must hold float32"),
    "unknown objective": (SMALL + '\n[partition]\nobjective = "speed"', r"\$.partition.objective"),
    "search without channels": (SMALL + "\n[search]\nchannels = []", r"\$.search.channels"),
    "tournament of too many": (
        SMALL + "\n[search]\npopulation = 4\ntournament = 5",
        "tournament must be at most population",
    ),
    "search without hidden layers": (
        SMALL.replace("[16, 4]", "[16]").replace("[1, 2]", "[1]") + "\n[search]",
        "nothing to change in a network without hidden layers",
    ),
    "search with numbered points": (
        SMALL + "\n[search]\n[partition]\npoints = [0]",
        "points must be 'auto' or 'all'",
    ),
    "no TOML": ("name = ", "no valid TOML"),
    "unknown step": (SMALL + '\n[[preprocess]]\nname = "sharpen"', "step 'sharpen'"),
    "signal step": (SMALL + '\n[[preprocess]]\nname = "beats"', "expected window steps only"),
}


@pytest.mark.parametrize(("text", "message"), MISTAKES.values(), ids=MISTAKES.keys())
def test_mistake_names_file_and_key_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    """Nobody should have to read a traceback to find a typing error."""
    path = write(tmp_path, text)
    with pytest.raises(ConfigError, match=message) as caught:
        read_recipe(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_missing_file_is_named(tmp_path: Path) -> None:
    """With the system's reason."""
    with pytest.raises(ConfigError, match=r"none.toml: cannot be read: No such file"):
        read_recipe(tmp_path / "none.toml")


@pytest.mark.parametrize("text", ["-1", "x", "4294967296", "1.5", ""])
def test_seed_that_is_no_32_bit_number_is_refused(text: str) -> None:
    """Keras takes no other."""
    with pytest.raises(ConfigError, match="--seed"):
        parse_seed(text)


def test_largest_seed_is_taken() -> None:
    """2^32 - 1 is one."""
    assert parse_seed("4294967295") == 2**32 - 1
