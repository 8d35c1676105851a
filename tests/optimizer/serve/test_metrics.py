"""docs/metrics.md against the page of a running service."""

import re
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from serve_case import command

from optimizer.serve.config import Capacity, Config
from optimizer.serve.server import JobService

DOCS = Path(__file__).parents[3] / "docs" / "metrics.md"
ROW = re.compile(r"^\| `(optimizer_\w+)` \| (\w+) \| (.*?) \| (.*?) \|$", re.MULTILINE)


@pytest.fixture
def service(tmp_path):
    """Return a running service with a page of metrics."""
    config = Config(
        state=str(tmp_path),
        listen="127.0.0.1:0",
        metrics="127.0.0.1:0",
        capacity=Capacity(cpus=1, memory_bytes=1 << 30),
    )
    made = JobService(config, command=command)
    yield made
    made.close()


def read(service: JobService, path: str) -> str:
    """Return a page."""
    with urllib.request.urlopen(f"http://{service.metrics_address}{path}", timeout=20) as page:
        return page.read().decode()


def test_every_metric_is_documented_and_none_besides(service):
    """Name, type, label values and text."""
    page = {}
    for family in text_string_to_metric_families(read(service, "/metrics")):
        if not family.name.startswith("optimizer_") or family.name.endswith("_created"):
            continue
        labels = {k: set() for sample in family.samples for k in sample.labels}
        for sample in family.samples:
            for label, value in sample.labels.items():
                labels[label].add(value)
        name = family.name + "_total" * (family.type == "counter")
        page[name] = (family.type, labels, family.documentation)
    docs = {
        name: (
            kind,
            {k: set(v.split(", ")) for k, v in re.findall(r"`(\w+)`: ([\w, -]+)", labels)},
            text,
        )
        for name, kind, labels, text in ROW.findall(DOCS.read_text())
    }
    assert page == docs


def test_figures_are_those_of_the_jobs(service):
    text = read(service, "/metrics")
    for line in ("optimizer_cpus 1.0", 'optimizer_jobs{state="queued"} 0.0'):
        assert line in text.splitlines()
    assert f"optimizer_memory_bytes {(1 << 30) / 1e9}e+09" in text


def test_probes_answer(service):
    assert ["ok\n", "ok\n"] == [read(service, path) for path in ("/livez", "/readyz")]
    service._changes.close()
    with pytest.raises(urllib.error.HTTPError, match="503") as caught:
        read(service, "/readyz")
    assert b"stopping\n" == caught.value.read()
    caught.value.close()
