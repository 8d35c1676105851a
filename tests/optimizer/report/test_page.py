"""The page's figures are those of the records, and nothing is shown without data."""

import dataclasses
import json
import math
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import numpy as np
import pytest
from report_case import (
    AC_2,
    LABELS,
    TEST,
    make_comparison,
    make_statistics,
    make_summary,
    write_search,
)

from headtail.energy import predict_transmission
from headtail.profile import read_link_profile
from headtail.wire import Encoding
from optimizer.network import Genome
from optimizer.partition import Bounds
from optimizer.report.comparison import noise
from optimizer.report.layers import every_cut, layers_on_edge
from optimizer.report.markdown import markdown
from optimizer.report.network import draw_network
from optimizer.report.page import render_page
from optimizer.report.printed import best_totals
from optimizer.report.radio import radio_rows
from optimizer.report.report import draw, write_report
from optimizer.report.summary import RunSummary
from optimizer.report.text import format_j, show_j
from optimizer.run_folder import RunFolder

pytestmark = pytest.mark.tf
ALWAYS = ["network", "points", "radio", "printed", "classes", "training", "protocol"]


class Page(HTMLParser):
    """A page's sections by id with the rows of their tables as texts, without notes' numbers."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.sections: dict[str, list[list[str]]] = {}
        self._rows: list[list[str]] = []
        self._is_cell = self._is_note = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Begin a section, a row, a cell or a note's number."""
        if tag == "section":
            self._rows = self.sections.setdefault(dict(attrs)["id"] or "", [])
        elif tag == "tr":
            self._rows.append([])
        elif tag in {"td", "th"}:
            self._rows[-1].append("")
            self._is_cell = True
        elif tag == "sup":
            self._is_note = True

    def handle_endtag(self, tag: str) -> None:
        """End a cell or a note's number."""
        if tag in {"td", "th"}:
            self._is_cell = False
        elif tag == "sup":
            self._is_note = False

    def handle_data(self, data: str) -> None:
        """Take the text of a cell."""
        if self._is_cell and not self._is_note:
            self._rows[-1][-1] += data


def page(summary: RunSummary) -> Page:
    """Return the page of a run without a search."""
    return Page(render_page(summary, draw(summary)))


def test_sections_without_data_are_left_out(tmp_path: Path) -> None:
    """No empty one, and each in its place where there is something to show."""
    assert ALWAYS == list(page(make_summary()).sections)
    whole = make_summary(
        statistics=make_statistics(),
        comparison=make_comparison(),
        found=write_search(tmp_path, ("accuracy", "edge_energy")),
        seconds={"train": 1.0},
    )
    write_report(whole, RunFolder(tmp_path))
    shown = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert {*ALWAYS, "search", "comparison", "repeats", "time"} == shown.sections.keys()


def test_other_data_than_the_papers_has_no_printed_tables_beside_it() -> None:
    """They would be compared."""
    summary = make_summary()
    other = dataclasses.replace(summary, data=summary.data | {"name": "bonn"})
    synthetic = dataclasses.replace(summary, is_synthetic=True)
    for kind in (other, synthetic):
        assert "printed" not in page(kind).sections


def test_classes_have_sensitivity_and_ppv() -> None:
    """Worked out by hand from the confusion matrix."""
    rows = page(make_summary()).sections["classes"]
    counts = np.asarray(TEST)
    for i, label in enumerate(LABELS):
        right = counts[i, i]
        sensitivity, ppv = 100 * right / counts[i].sum(), 100 * right / counts[:, i].sum()
        f1 = 200 * right / (counts[i].sum() + counts[:, i].sum())
        expected = [label, "120", *(f"{value:.1f} %" for value in (sensitivity, ppv, f1))]
        assert expected == rows[i + 1]


def test_class_that_is_never_given_has_no_ppv() -> None:
    """A dash, not zero."""
    summary = make_summary()
    test = [[10, 0, 0, 0, 0], [10, 0, 0, 0, 0], [0] * 5, [0, 0, 0, 4, 0], [0, 0, 0, 0, 3]]
    training = type(summary.training)(summary.training.epochs, 1, TEST, test)
    rows = page(dataclasses.replace(summary, training=training)).sections["classes"]
    assert ["S", "10", "0.0 %", "-", "0.0 %"] == rows[2]
    assert ["V", "0", "-", "-", "-"] == rows[3]


@pytest.mark.parametrize("offered", [(), (0, 2, 6)], ids=["every point", "three points"])
def test_cut_after_every_layer_is_drawn_and_the_bundles_points_are_listed(
    offered: tuple[int, ...],
) -> None:
    """The bundle's own energies where it has a point, those of the search elsewhere."""
    summary = make_summary(offered=offered)
    shown = page(summary).sections["points"][1:]
    assert len(summary.rows) == len(shown)
    for row, cells in zip(summary.rows, shown, strict=True):
        assert [str(row.point), row.encoding.value] == cells[:2]
        assert format_j(row.edge_j).replace("u", "µ") in cells
    every = make_summary().rows
    cuts = every_cut(summary)
    assert [(r.point, r.encoding, r.cost, r.fog_j) for r in every] == [
        (c.layers, c.row.encoding, c.row.cost, c.row.fog_j) for c in cuts
    ]
    points = {c.layers: c.point for c in cuts}
    assert {n: i for i, n in enumerate(offered or range(7))} == {
        n: point for n, point in points.items() if point is not None
    }
    svg = draw(summary)["points"]
    for cut in cuts:
        name = f"{cut.layers} layers on the edge, {cut.row.encoding.value}"
        head_j, fog_j = cut.row.cost.head_j, cut.row.fog_j
        for what, joules in (("computing on the edge", head_j), ("computing in the fog", fog_j)):
            assert (f"<title>{name}\n{what}: {show_j(joules)}<" in svg) == (joules > 0)


def test_ac_2_in_the_papers_model_stands_below_its_printed_row() -> None:
    """Table II prints 0.253 mJ and 1.2 KiB for the very network, float32 on the wire."""
    summary = make_summary()
    float32 = next(r for r in summary.rows if (r.point, r.encoding) == (2, Encoding.FLOAT32))
    choice = summary.choice._replace(point=2, encoding=float32.encoding, cost=float32.cost)
    shown = page(dataclasses.replace(summary, choice=choice)).sections["printed"]
    printed = next(row for row in shown if row[0] == "AC-2")
    ours = next(row for row in shown if row[0] == "this run")
    assert ["AC-2", "0.253", "1.2", "8.5", "83.8"] == printed
    assert pytest.approx(0.253, rel=0.02) == float(ours[1])
    assert ["1.21", "8.50", "90.8"] == ours[2:]


def test_total_energies_at_the_papers_factors_are_the_papers() -> None:
    """Table III for AC-2 at factor 10, 2 and 1, float32 alone; cut at 2 and 2 and nowhere."""
    found = best_totals(make_summary(bounds=Bounds(), encodings=(Encoding.FLOAT32,)))
    assert [10, 2, 1] == [factor for factor, _, _ in found]
    assert [2, 2, 6] == [cut.layers for _, cut, _ in found]
    assert pytest.approx([0.461, 1.294, 2.323], rel=0.02) == [1e3 * j for _, _, j in found]


def test_chosen_payload_is_priced_over_both_radio_models() -> None:
    """As the link profiles price it by themselves."""
    summary = make_summary()
    payload = summary.wire_bytes(summary.chosen)
    rows = {row.link: row for row in radio_rows(summary)}
    assert {"ble-paper": "paper", "ble-1m": "packet", "ble-2m": "packet"} == {
        name: row.mode for name, row in rows.items()
    }
    for name, row in rows.items():
        expected = predict_transmission(read_link_profile(name), payload).joules
        assert (expected, summary.chosen.cost.head_j) == (row.radio_j, row.head_j)
    assert pytest.approx(summary.chosen.edge_j) == rows["ble-paper"].edge_j
    cells = {row[0]: row for row in page(summary).sections["radio"]}
    assert show_j(rows["ble-1m"].edge_j) == cells["ble-1m"][4]


def test_noise_is_the_standard_error_of_the_test_split() -> None:
    """1.2 points at 90.8 % on 600 windows, 1.7 for a difference."""
    summary = make_summary()
    found = noise(summary)
    assert (600, 545 / 600) == (found.windows, found.accuracy)
    expected = math.sqrt(545 / 600 * 55 / 600 / 600)
    assert pytest.approx(expected) == found.error
    shown = render_page(dataclasses.replace(summary, comparison=make_comparison()), draw(summary))
    assert "standard error of 1.2 points" in shown
    assert "one of 1.7: smaller differences are noise" in shown


def test_comparison_shows_every_row_with_its_origin() -> None:
    """Drawn where energy and accuracy are known, the far ones left to the table."""
    summary = make_summary(comparison=make_comparison())
    rows = page(summary).sections["comparison"]
    expected = [
        ["random search", "measured", "88.5 % ± 1.5"],
        ["raw window", "calculated", "-"],
        ["AC-1", "printed", "39.5 %"],
        ["VGG11", "printed", "92.1 %"],
    ]
    assert expected == [row[:3] for row in rows[1:]]
    svg = draw(summary)["comparison"]
    assert "<title>random search (measured)\naccuracy 88.5 % ± 1.5" in svg
    assert "AC-1: 39.5 % ▼" in svg
    assert "VGG11" not in svg


def test_repeats_show_mean_and_deviation_of_each_kind() -> None:
    """Of the sample, as the record has them; a dot for every training."""
    record = make_statistics()
    summary = make_summary(statistics=record)
    rows = page(summary).sections["repeats"][1:]
    for row, kind in zip(rows, ("seed", "split"), strict=True):
        figures = record.figures(kind)
        assert figures is not None
        assert [str(figures.count)] == row[1:2]
        expected = f"{100 * figures.accuracy_mean:.1f} ± {100 * figures.accuracy_std:.1f} %"
        assert expected == row[2]
    assert 8 == draw(summary)["repeats_accuracy"].count("<title>seed ")


def test_every_drawing_is_a_whole_svg_file() -> None:
    """Readable without the page, and without anything from elsewhere."""
    summary = make_summary(statistics=make_statistics(), comparison=make_comparison())
    for svg in draw(summary).values():
        root = ET.fromstring(svg)
        assert "{http://www.w3.org/2000/svg}svg" == root.tag
        assert [] == [e for e in root.iter() if "href" in str(e.attrib)]


def test_drawings_know_networks_that_cost_nothing() -> None:
    """As where both programs share a machine whose energy no profile prices."""
    summary = make_summary(bounds=Bounds())
    free = tuple(
        dataclasses.replace(
            row, fog_j=0.0, cost=msgspec.structs.replace(row.cost, head_j=0.0, tx_j=0.0)
        )
        for row in summary.rows
    )
    choice = summary.choice._replace(cost=free[0].cost, point=0, encoding=free[0].encoding)
    told = dataclasses.replace(summary, rows=free, choice=choice, comparison=make_comparison())
    for svg in draw(told).values():
        assert "nan" not in svg
        assert "inf" not in svg


def test_other_protocol_than_the_papers_is_said_beside_its_tables() -> None:
    """And nothing of the kind where it is the same."""
    summary = make_summary()
    other = dataclasses.replace(summary, data=summary.data | {"protocol": "inter_patient"})
    for said in ("the accuracies do not compare", "Windows of one patient are alike"):
        assert said in render_page(other, draw(other))
        assert said not in render_page(summary, draw(summary))


def test_total_energy_has_a_tile_where_it_is_the_objective() -> None:
    """With what makes it what it is."""
    summary = make_summary()
    partition = msgspec.structs.replace(summary.recipe.partition, objective="total_energy")
    recipe = msgspec.structs.replace(summary.recipe, partition=partition)
    text = render_page(dataclasses.replace(summary, recipe=recipe), draw(summary))
    assert f"<b>{show_j(summary.chosen.total_j)}</b>" in text
    assert "the fog 10 times as efficient" in text


def test_splits_are_shown_with_their_counts() -> None:
    """Every class of every split."""
    rows = page(make_summary()).sections["protocol"]
    assert ["split", *LABELS, "all"] == rows[0]
    assert ["train", *["562"] * 5, "2810"] == rows[1]


@pytest.mark.parametrize("point", range(7))
def test_drawing_has_edge_and_fog_in_their_colours(point: int) -> None:
    """Every map up to the one that crosses is on the edge; the bytes stand at the cut."""
    summary = make_summary(bounds=Bounds())
    row = next(r for r in summary.rows if r.point == point)
    choice = summary.choice._replace(point=point, encoding=row.encoding, cost=row.cost)
    cut = dataclasses.replace(summary, choice=choice)
    assert point == layers_on_edge(cut)
    svg = draw_network(cut)
    assert point + 1 == svg.count('fill="#2b6cb0" rx')
    assert 6 - point == svg.count('fill="#8b6fc4" rx')
    assert f"{cut.wire_bytes(row)} B cross as float32" in svg
    for length, channels in zip(AC_2.lengths, AC_2.channels, strict=True):
        assert f">{length} x {channels}<" in svg


def test_drawing_names_kernels_that_are_longer_than_their_strides() -> None:
    """Kernel and stride of each convolution on its arrow."""
    network = Genome((192, 48, 12), (1, 1, 8), 5, (1, 1, 3))
    svg = draw_network(make_summary(network))
    assert ">k 4, s 4<" in svg
    assert ">k 12, s 4<" in svg


def test_report_json_holds_the_figures(tmp_path: Path) -> None:
    """In SI units; parts without data are not there."""
    (tmp_path / "recipe.toml").write_text(
        (Path(__file__).parents[3] / "recipes" / "mitbih-paper.toml").read_text()
    )
    summary = make_summary(statistics=make_statistics())
    write_report(summary, RunFolder(tmp_path))
    found = json.loads((tmp_path / "report.json").read_bytes())
    assert summary.chosen.edge_j == found["chosen"]["edge_j"]
    assert 545 / 600 == found["test"]["accuracy"]
    assert len(summary.rows) == len(found["points"])
    assert 5 == found["statistics"]["seed"]["count"]
    assert not found.keys() & {"search", "comparison", "seconds"}


def test_markdown_holds_repeats_comparison_and_times() -> None:
    """And none of them where there is nothing to tell."""
    told = make_summary(
        statistics=make_statistics(), comparison=make_comparison(), seconds={"train": 1.26}
    )
    text = markdown(told)
    assert "| AC-1 | printed | 39.5 % |" in text
    assert "| train | 1.3 s |" in text
    assert "smaller differences are noise" in text
    assert re.search(r"\| other splits \| 3 \| \d\d\.\d ± ", text)
    bare = markdown(make_summary())
    for title in ("## Repeats", "## Comparison", "## Time spent"):
        assert title in text
        assert title not in bare


def test_same_run_gives_the_same_bytes(tmp_path: Path) -> None:
    """Page, figures and every drawing."""
    written = []
    for name in ("first", "second"):
        folder = tmp_path / name
        folder.mkdir()
        found = write_search(folder, ("accuracy", "edge_energy"))
        summary = make_summary(
            found=found, statistics=make_statistics(), comparison=make_comparison()
        )
        write_report(summary, RunFolder(folder))
        written.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert written[0] == written[1]
