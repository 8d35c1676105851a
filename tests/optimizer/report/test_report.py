"""The report: one page that needs nothing else, and that says what its figures are."""

import json
import re
from pathlib import Path

import pytest

from headtail.bundle import read_bundle
from headtail.bundle.keys import Trust
from optimizer.report.rebuild import rebuild
from optimizer.report.text import format_j

Finished = list[tuple[Path, str, str]]


@pytest.mark.parametrize(
    ("joules", "text"),
    [(0, "0 nJ"), (1.2964e-5, "13.0 uJ"), (4.851e-3, "4.85 mJ"), (2e-9, "2.00 nJ"), (3, "3.00 J")],
)
def test_energy_is_shown_with_three_figures(joules: float, text: str) -> None:
    """In the unit that keeps it below a thousand."""
    assert text == format_j(joules)


@pytest.mark.tf
def test_page_needs_nothing_from_elsewhere(finished_runs: Finished) -> None:
    """No style sheet, no font, no picture is loaded; script and style are inside."""
    page = (finished_runs[0][0] / "report.html").read_text(encoding="utf-8")
    assert [] == re.findall(r"<(?:link|img|iframe|object|embed)\b|<script [^>]*src", page)
    assert [] == re.findall(r"url\((?!#)|@import|\bsrc=|\bfetch\(|XMLHttpRequest", page)
    addresses = set(re.findall(r"\w+://[^\"'\s<]+", page))
    assert {"http://www.w3.org/2000/svg"} == addresses  # a name, never fetched


@pytest.mark.tf
@pytest.mark.parametrize("name", ["report.html", "report.md"])
def test_report_says_synthetic_protocol_and_digest(
    name: str, finished_runs: Finished, trust: Trust
) -> None:
    """A figure without them could be taken for more than it is."""
    folder = finished_runs[0][0]
    text = (folder / name).read_text(encoding="utf-8")
    assert "SYNTHETIC DATA" in text
    assert "synthetic inter_patient" in text
    assert read_bundle(folder / "ecg-synthetic-1.bundle", trust).digest in text


@pytest.mark.tf
def test_every_point_and_encoding_has_a_row_and_one_is_chosen(
    finished_runs: Finished, trust: Trust
) -> None:
    """Sending the raw window, the trivial answer, among them."""
    folder = finished_runs[0][0]
    points = read_bundle(folder / "ecg-synthetic-1.bundle", trust).manifest.points
    expected = [(str(p.index), c.encoding.value) for p in points for c in p.costs]
    table = (folder / "report.md").read_text(encoding="utf-8").split("## Partition points")[1]
    rows = re.findall(r"^\| (\d+) \| (\w+) \|.*$", table, flags=re.MULTILINE)
    assert expected == rows
    assert table.count("**chosen**") == 1


@pytest.mark.tf
def test_training_is_redrawn_from_the_history_alone(
    finished_runs: Finished, tmp_path: Path
) -> None:
    """Byte by byte, the epoch kept among it; a training that was torn off is passed over."""
    folder = finished_runs[0][0]
    history = (folder / "history.jsonl").read_bytes()
    torn = history[: history.index(b'"epoch":2') + 40].rsplit(b"\n", 1)[0] + b"\n"
    (tmp_path / "history.jsonl").write_bytes(torn + history)
    (tmp_path / "recipe.toml").write_bytes((folder / "recipe.toml").read_bytes())
    expected = {n: (folder / f"plot_{n}.svg").read_text() for n in ("loss", "validation")}
    assert expected == rebuild(tmp_path)
    kept = json.loads((folder / "training.json").read_bytes())["best_epoch"]
    assert f"epoch {kept} kept" in expected["loss"]
