"""Recipes of image models: how they are told from others, and the one line that mistakes give."""

from pathlib import Path

import pytest

from headtail.errors import ConfigError
from optimizer.recipe.image import ImageRecipe, describe_image_recipe, read_any_recipe
from optimizer.recipe.recipe import Recipe

BEGINNING = 'name = "weeds"\nversion = "1"\ntask = "which weed"\n'
IMAGES = '[data]\nsource = "images"\npath = "/somewhere/weeds"\n'
BACKBONE = "[backbone]\n"


def read(folder: Path, text: str, seed: int | None = None) -> Recipe | ImageRecipe:
    """Read a recipe of this text."""
    path = folder / "recipe.toml"
    path.write_text(BEGINNING + text, encoding="utf-8")
    return read_any_recipe(path, seed)


def test_a_backbone_makes_an_image_recipe_and_a_network_another(tmp_path: Path) -> None:
    """The table decides, not the file's name."""
    assert isinstance(read(tmp_path, BACKBONE + IMAGES, seed=7), ImageRecipe)
    assert isinstance(read(tmp_path, "[network]\nlengths = [8]\nchannels = [1]\n"), Recipe)


def test_seed_and_profiles_of_an_image_recipe(tmp_path: Path) -> None:
    """The seed is the flag's; the device is one that holds such models."""
    recipe = read(tmp_path, BACKBONE + IMAGES + "[partition]\nfog_factor = 2.0\n", seed=7)
    assert isinstance(recipe, ImageRecipe)
    assert (7, "raspberry-pi-4", 2.0) == (
        recipe.seed,
        recipe.partition.device_profile,
        recipe.partition.fog_factor,
    )


def test_lineage_names_files_without_their_folders(tmp_path: Path) -> None:
    """Where a file lies on one machine says nothing on another."""
    backbone = '[backbone]\nnetwork = "/somewhere/net.keras"\n'
    recipe = read(tmp_path, backbone + IMAGES + "[costs]\n")
    assert isinstance(recipe, ImageRecipe)
    described = describe_image_recipe(recipe)
    assert "net.keras" == described["backbone"]["network"]
    assert "/somewhere" not in str(described)
    assert "costs" not in described


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BACKBONE + '[data]\nsource = "mitbih"\n', "one of images, deepweeds, cifar10_small"),
        (BACKBONE + IMAGES + "[network]\nlengths = [8]\n", "received both"),
        (BACKBONE + IMAGES + "[prune]\ntrials = 2\n", "trials must be 0 or at least 3"),
        (BACKBONE + IMAGES + "[prune]\ntrials = 3\nthreshold = 0.1\n", "leave out trials"),
        (BACKBONE + IMAGES + '[prune]\ntrains = "mask"\n', "no \\[freeze\\] that chooses one"),
        (BACKBONE + IMAGES + "[prune]\nmin_accuracy = 65\n", "min_accuracy"),
        (BACKBONE + IMAGES + "[prunes]\n", "unknown field `prunes`"),
    ],
)
def test_a_mistake_gives_one_line_that_names_it(tmp_path: Path, text: str, said: str) -> None:
    """The file is named too."""
    with pytest.raises(ConfigError, match=f"recipe.toml.*{said}"):
        read(tmp_path, text)
