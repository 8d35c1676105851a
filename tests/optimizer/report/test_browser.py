"""The page in a real browser: nothing fetched, nothing complained of, hover texts shown."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import PROGRAM, PROGRAMS, Browser, open_browser
from report_case import make_comparison, make_statistics, make_summary, write_search

from optimizer.report.report import write_report
from optimizer.run_folder import RunFolder

pytestmark = [
    pytest.mark.tf,
    pytest.mark.skipif(PROGRAM is None, reason=f"none of {', '.join(PROGRAMS)} is installed"),
]
CENTER = """(() => {
  const shape = document.querySelector('#search [data-hover^="%s"]');
  shape.scrollIntoView({block: "center"});
  const edge = shape.getBoundingClientRect();
  return [edge.x + edge.width / 2, edge.y + edge.height / 2, shape.dataset.hover];
})()"""
SHOWN = "getComputedStyle(document.getElementById('hover')).display"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the page of a run with everything that a report can show."""
    folder = tmp_path_factory.mktemp("report")
    summary = make_summary(
        found=write_search(folder, ("accuracy", "edge_energy", "total_energy")),
        statistics=make_statistics(),
        comparison=make_comparison(),
        seconds={"search": 120.0, "train": 3.5},
    )
    write_report(summary, RunFolder(folder))
    return folder / "report.html"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Return a browser of the tests' own."""
    with open_browser(tmp_path_factory.mktemp("profile")) as started:
        yield started


def test_page_asks_for_nothing_and_the_console_stays_empty(browser: Browser, report: Path) -> None:
    """But for the page itself."""
    browser.open(report, 1100)
    assert [report.resolve().as_uri()] == browser.requests
    assert [] == browser.complaints


def test_pointing_at_a_network_shows_what_it_is(browser: Browser, report: Path) -> None:
    """At once, and no longer than one points at it."""
    browser.open(report, 1100)
    assert "none" == browser.evaluate(SHOWN)
    x, y, text = browser.evaluate(CENTER % "chosen")
    browser.hover(x, y)
    assert "block" == browser.evaluate(SHOWN)
    assert text == browser.evaluate("document.getElementById('hover').textContent")
    assert text.startswith("chosen\nlengths 192 ")
    for fact in ("channels", "point", "on the wire", "parameters", "edge"):
        assert fact in text
    browser.hover(1, 1)
    assert "none" == browser.evaluate(SHOWN)


def test_keyboard_reaches_what_the_mouse_does(browser: Browser, report: Path) -> None:
    """Focus shows the same text."""
    browser.open(report, 1100)
    browser.evaluate("document.querySelector('#points [data-hover]').focus()")
    assert "block" == browser.evaluate(SHOWN)
    assert browser.evaluate("document.getElementById('hover').textContent").startswith("0 layers")


@pytest.mark.parametrize("width", [340, 700, 1400])
def test_page_never_scrolls_sideways(browser: Browser, report: Path, width: int) -> None:
    """What is wider than a narrow screen scrolls inside its own frame, the hover box stays in."""
    browser.open(report, width)
    assert width >= browser.evaluate("document.documentElement.scrollWidth")
    x, y, _ = browser.evaluate(CENTER % "on the front")
    browser.hover(x, y)
    edge = "document.getElementById('hover').getBoundingClientRect()"
    assert 0 <= browser.evaluate(f"{edge}.left")
    assert width >= browser.evaluate(f"{edge}.right")


def test_page_without_script_keeps_its_hover_texts(browser: Browser, report: Path) -> None:
    """Browsers show the titles of shapes by themselves."""
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    browser.open(report, 1100)
    browser.call("Emulation.setScriptExecutionDisabled", value=False)
    assert browser.evaluate("document.querySelectorAll('svg title').length") > 50
