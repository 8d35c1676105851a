"""A run whose recipe has a [compare]: the stage is part of it, and so is what it leaves behind."""

from pathlib import Path

import pytest
from paper_profiles import PROFILES
from run_case import BUNDLE, run, write_recipe

from headtail.bundle import read_bundle
from headtail.bundle.keys import Trust
from optimizer.compare.compare import COMPARISON, ComparisonRecord
from optimizer.network import Genome
from optimizer.run_folder import RunFolder
from optimizer.search.genome_cost import price
from optimizer.search.record import SearchRecord

pytestmark = [
    pytest.mark.tf,
    pytest.mark.slow,
    # Keras 3.15 saving a model under NumPy 2.
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy"),
]
STAGES = """
[search]
channels = [1, 2]
lengths = [0]
population = 4
generations = 1
epochs = 1
[train]
epochs = 4
[partition]
encodings = ["float32", "int8"]
[compare]
vgg_width = 0
printed = "arrhythmia"
"""


@pytest.fixture(scope="module")
def out(key_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a finished run."""
    folder = tmp_path_factory.mktemp("compare")
    run(write_recipe(folder, STAGES), folder / "out", key_folder)
    return folder / "out"


def test_rows_are_in_the_folder_and_in_the_report(out: Path) -> None:
    """Eight that were trained, then the printed ones."""
    record = RunFolder(out).read_record(COMPARISON, ComparisonRecord)
    assert record is not None
    assert ["measured"] * 8 + ["printed"] * 15 == [row.origin for row in record.rows]
    report = (out / "report.html").read_text()
    for row in record.rows:
        assert row.name in report


def test_row_of_the_run_s_own_search_is_its_winner(out: Path) -> None:
    """With the price that the search said, which is that of the genome."""
    record = RunFolder(out).read_record(COMPARISON, ComparisonRecord)
    found = RunFolder(out).read_record("search.json", SearchRecord)
    assert record is not None
    assert found is not None
    own, winner = record.rows[0], found.winner
    assert own.name.startswith("this search")
    genome = Genome(winner.lengths, winner.channels, 2, winner.kernels)
    costs = price(genome, PROFILES)[own.point].costs
    assert own.edge_j in [cost.edge_j for cost in costs if cost.encoding == own.encoding]
    assert winner.assessment.point == own.point


def test_comparison_is_no_part_of_the_bundle_s_recipe(out: Path, trust: Trust) -> None:
    """What a network was held against does not change it."""
    recipe = read_bundle(out / BUNDLE, trust).manifest.lineage.recipe
    assert {"search", "train"} <= recipe.keys()
    assert "compare" not in recipe
