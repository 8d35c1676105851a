"""The page of metrics and probes, and the count of what is logged."""

import logging
import urllib.error
import urllib.request

import pytest
from prometheus_client import CollectorRegistry

from headtail.metrics import LIVE, READY, LogLines, MetricsPage


@pytest.fixture
def found() -> dict[str, str | None]:
    """Return what the checks find, by path; the test changes it."""
    return {LIVE: None, READY: None}


@pytest.fixture
def registry() -> CollectorRegistry:
    """Return an empty registry."""
    return CollectorRegistry()


@pytest.fixture
def page(found, registry):
    """Return a page on a free port."""
    probes = {path: lambda path=path: found[path] for path in found}
    page = MetricsPage("127.0.0.1:0", registry, probes)
    yield page
    page.close()


def get(page: MetricsPage, path: str) -> tuple[int, str]:
    """Return status and body."""
    try:
        with urllib.request.urlopen(f"http://{page.address}{path}", timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_probe_says_ok_or_what_is_wrong(page, found):
    assert (200, "ok\n") == get(page, LIVE)
    found[LIVE] = "3 windows under way"
    assert (503, "3 windows under way\n") == get(page, LIVE)
    assert (200, "ok\n") == get(page, READY)


def test_warnings_and_errors_are_counted_until_closed(page, registry):
    lines = LogLines("edge", registry)
    log = logging.getLogger("somewhere")
    log.info("nothing")
    log.warning("a")
    log.error("b")
    log.critical("c")
    lines.close()
    log.error("d")
    status, text = get(page, "/metrics")
    assert 200 == status
    assert 'edge_log_lines_total{level="warning"} 1.0\n' in text
    assert 'edge_log_lines_total{level="error"} 2.0\n' in text
