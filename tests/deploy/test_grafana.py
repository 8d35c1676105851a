"""The dashboards: as the script writes them, and as Grafana can import and lay them out."""

import json
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import pytest
import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"
FOLDER = DEPLOY / "grafana" / "dashboards"
NAMES = sorted(path.name for path in FOLDER.glob("*.json"))
# Names of Grafana's own list of units.
UNITS = {
    "Bps", "bool_yes_no", "bytes", "joule", "none", "ops", "percentunit", "s", "short", "watt",
}  # fmt: skip


@pytest.fixture(params=NAMES)
def dashboard(request):
    """Return each dashboard."""
    return json.loads((FOLDER / request.param).read_text())


def overlap(one: dict, other: dict) -> bool:
    """Return whether two panels' places do."""
    return all(
        one[at] < other[at] + other[size] and other[at] < one[at] + one[size]
        for at, size in (("x", "w"), ("y", "h"))
    )


def test_files_are_what_the_script_writes():
    script = DEPLOY / "grafana" / "generate.py"
    done = subprocess.run(
        [sys.executable, script, "--check"], capture_output=True, text=True, check=False
    )
    assert (0, "") == (done.returncode, done.stderr)


def test_panels_have_a_place_a_unit_and_a_query(dashboard):
    panels = dashboard["panels"]
    assert panels
    assert len(panels) == len({p["id"] for p in panels}) == len({p["title"] for p in panels})
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS
        references = [t["refId"] for t in panel["targets"]]
        assert references
        assert len(references) == len(set(references))
        assert all(t["expr"] and t["legendFormat"] for t in panel["targets"])
    for one, other in combinations(panels, 2):
        assert not overlap(one["gridPos"], other["gridPos"]), (one["title"], other["title"])


def test_legends_name_labels_that_the_query_keeps(dashboard):
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            labels = {w.split("}}")[0] for w in target["legendFormat"].split("{{")[1:]}
            if " by (" in target["expr"]:
                kept = target["expr"].split(" by (")[1].split(")")[0].split(", ")
                assert labels <= set(kept), panel["title"]


def test_variables_are_defined_and_used(dashboard):
    text = (FOLDER / f"{dashboard['uid'].removeprefix('headtail-')}.json").read_text()
    names = {v["name"] for v in dashboard["templating"]["list"]}
    assert "source" in names
    for name in names:
        assert f"${name}" in text or f"${{{name}}}" in text
    assert ("$instance" in text) == ("instance" in names)


def test_uids_and_titles_are_unique():
    read = [json.loads((FOLDER / name).read_text()) for name in NAMES]
    assert len(read) == len({d["uid"] for d in read}) == len({d["title"] for d in read})


def test_provisioning_names_the_source_that_panels_ask_for():
    folder = DEPLOY / "grafana" / "provisioning"
    (source,) = yaml.safe_load((folder / "datasources/prometheus.yml").read_text())["datasources"]
    assert "prometheus" == source["type"]
    (provider,) = yaml.safe_load((folder / "dashboards/headtail.yml").read_text())["providers"]
    assert provider["options"]["path"]
