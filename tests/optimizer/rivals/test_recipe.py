"""Tests of the recipe of a comparison, and of the figures that come from print."""

from pathlib import Path

import msgspec
import pytest

from headtail.errors import ConfigError
from optimizer.recipe.rivals import RivalsConfig, read_rivals_recipe
from optimizer.rivals.printed import TABLE_IV

SHIPPED = Path(__file__).parents[3] / "recipes" / "rivals-cifar10.toml"


def test_the_shipped_recipe_compares_everything() -> None:
    """Three seeds, half of the cost, every method."""
    recipe = read_rivals_recipe(SHIPPED)
    assert recipe.seeds == (1, 2, 3)
    assert recipe.rivals.macs_share == 0.5
    assert len(recipe.rivals.methods) == 10


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('methods = ["magic"]', "Invalid enum value 'magic'"),
        ('methods = ["l1", "l1"]', "expected each once"),
        ("steps = 9", "an epoch for each of the steps"),
        ("lasso_epochs = 8", "more epochs than lasso_epochs"),
        ("macs_share = 0", "macs_share"),
    ],
)
def test_wrong_keys_are_one_line(line: str, message: str, tmp_path: Path) -> None:
    text = SHIPPED.read_text().split("[rivals.freeze]")[0]
    key = line.split(" ")[0]
    kept = [row for row in text.splitlines() if not row.startswith(f"{key} =")]
    (tmp_path / "bad.toml").write_text("\n".join([*kept, line]))
    with pytest.raises(ConfigError, match=message):
        read_rivals_recipe(tmp_path / "bad.toml")


def test_defaults_stand_for_a_missing_section() -> None:
    config = msgspec.convert({}, RivalsConfig)
    assert config.macs_share == 0.5
    assert config.freeze.limit == 0.5


def test_the_printed_table_is_table_iv() -> None:
    """Its largest figures are the paper's own; they are in the abstract's words as well."""
    figures = {row.name: (row.inception_percent, row.vgg_percent) for row in TABLE_IV}
    assert figures["ToSiM-IoT"] == (93.1, 86.8)
    assert figures["L1-Norm Based Pruning"] == (85.3, 78.6)
    assert len(figures) == 6
