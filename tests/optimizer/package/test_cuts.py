"""What a cut costs: medians by hand, and every point of a bundle that is a cut."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from headtail.bundle.keys import read_signer
from headtail.bundle.manifest import Lineage
from headtail.cut_cost import Halves
from headtail.profile import read_device_profile, read_link_profile
from headtail.wire import Encoding
from optimizer.cli import main
from optimizer.cut.cut import cut_model, legal_cuts
from optimizer.cut.graph import read_graph
from optimizer.cut.graph_probe import random_windows
from optimizer.package.cuts import CutCost, cut_rows, measure_cuts, summarise
from optimizer.package.package import Description, Offer, Verified, pack
from optimizer.package.points import Profiles, Windows, build_points

PROFILES = Profiles((read_device_profile("raspberry-pi-4"),), (read_link_profile("ethernet"),))
LINEAGE = Lineage(recipe={}, data={}, is_synthetic=True, seed=0, packages={})
VERIFIED = Verified(64, "64 random", "onnx")
DESCRIPTION = Description("small", "1", "classification", (), (), (), LINEAGE, VERIFIED)


def test_medians_are_of_each_round_s_own_ratio() -> None:
    """A slow second round slows whole and halves alike, and changes nothing."""
    timed = [(10.0, Halves(4.0, 7.0)), (20.0, Halves(8.0, 13.0)), (10.0, Halves(4.0, 6.4))]
    found = summarise(3, timed, True)
    assert (3, 10.0, 4.0, 7.0) == (found.point, found.whole_s, found.head_s, found.tail_s)
    assert found.penalty == pytest.approx(0.05)  # of 10, 5 and 4 %


def test_a_round_that_the_clock_did_not_see_says_nothing() -> None:
    unseen, seen = (0.0, Halves(1.0, 0.0)), (10.0, Halves(5.0, 7.0))
    assert summarise(1, [unseen, seen, unseen], True).penalty == pytest.approx(0.2)
    assert summarise(1, [unseen, unseen], True).penalty == 0.0


def test_a_cut_that_costs_more_than_five_percent_is_marked() -> None:
    dear = CutCost(1, 1e-3, 5e-4, 7e-4, 0.2, True)
    fair = CutCost(2, 1e-3, 5e-4, 5e-4, -0.01, False)
    assert [
        ["1", "1 ms", "500 us", "700 us", "+20.0% !"],
        ["2", "1 ms", "500 us", "500 us", "-1.0%, not merged"],
    ] == cut_rows((dear, fair))


@pytest.mark.parametrize("count", [4, 0])
def test_every_cut_of_a_bundle_is_timed_and_the_bundle_left_as_it_is(
    small_cnn: bytes, key_folder: Path, tmp_path: Path, count: int
) -> None:
    """A bundle of one segment has no cut."""
    graph = read_graph(small_cnn)
    cut = cut_model(graph, legal_cuts(graph)[:count])
    x = random_windows(cut.inputs, 8, np.random.default_rng(2))
    offer = Offer(build_points(cut, Windows(x), PROFILES), 0, Encoding.FLOAT32)
    path, signer = tmp_path / "small.bundle", read_signer(key_folder / "test.key")
    pack(path, cut, offer, DESCRIPTION, x, signer)
    before = path.read_bytes()

    costs = measure_cuts(path, signer, graph)

    assert list(range(1, count + 1)) == [c.point for c in costs]
    assert all(c.is_merged and min(c.whole_s, c.head_s, c.tail_s) > 0 for c in costs)
    assert before == path.read_bytes()


def test_it_is_told_on_the_terminal_and_as_json(
    small_cnn: bytes, key_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "small.onnx").write_bytes(small_cnn)
    words = ["split", str(tmp_path / "small.onnx"), "--out", str(tmp_path / "a.bundle")]
    words += ["--key", str(key_folder / "test.key"), "--points", "0,2"]
    assert main(words) == 0
    assert "cost of the cuts" in capsys.readouterr().out
    assert main([*words, "--json"]) == 0
    told = msgspec.json.decode(capsys.readouterr().out)["cut_costs"]
    assert [1, 2] == [c["point"] for c in told]
