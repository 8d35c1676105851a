"""Prometheus and Alertmanager: their tools accept the files; each alert is tested and told."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "prometheus"
ALERTS = [
    rule
    for group in yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]
]
NAMES = [rule["alert"] for rule in ALERTS]


def needs(tool: str, package: str) -> pytest.MarkDecorator:
    """Return the mark that skips where a tool of Debian's is not installed."""
    return pytest.mark.skipif(
        not shutil.which(tool), reason=f"needs {tool} (apt-get install {package})"
    )


def run(*command: str | Path) -> "subprocess.CompletedProcess[str]":
    """Run a tool in the folder."""
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=FOLDER)


@needs("promtool", "prometheus")
def test_promtool_accepts_configuration_and_rules():
    done = run("promtool", "check", "config", "prometheus.yml")
    assert 0 == done.returncode, done.stderr + done.stdout
    assert "FAILED" not in done.stdout


@needs("promtool", "prometheus")
@pytest.mark.parametrize("path", sorted((FOLDER / "tests").glob("*.yml")), ids=lambda p: p.name)
def test_alerts_fire_when_they_should_and_for_no_other(path):
    done = run("promtool", "test", "rules", path)
    assert 0 == done.returncode, done.stderr + done.stdout


@needs("promtool", "prometheus")
def test_promtool_finds_an_alert_that_does_not_fire(tmp_path):
    """With another limit the tests of the rules fail: they do look at it."""
    shutil.copytree(FOLDER, tmp_path / "p")
    limits = tmp_path / "p" / "limits.yml"
    limits.write_text(limits.read_text().replace("vector(0.5)", "vector(0.9)"))
    assert 0 != run("promtool", "test", "rules", tmp_path / "p/tests/closed_loop.yml").returncode


@needs("amtool", "prometheus-alertmanager")
def test_amtool_accepts_the_routes_and_sends_each_alert_where_it_belongs():
    done = run("amtool", "check-config", "alertmanager.yml")
    assert 0 == done.returncode, done.stderr + done.stdout
    kinds = {tuple(sorted(rule["labels"].items())) for rule in ALERTS}
    for kind in kinds:
        labels = [f"{key}={value}" for key, value in kind]
        command = ("amtool", "config", "routes", "test", "--config.file=alertmanager.yml")
        asked = ("action", "reoptimize") in kind
        expected = "reoptimize,people" if asked else "people"
        assert expected == run(*command, *labels).stdout.strip(), kind


@pytest.mark.parametrize("name", NAMES)
def test_each_alert_is_tested_and_explained(name):
    tested = "".join(path.read_text() for path in (FOLDER / "tests").glob("*.yml"))
    assert f"alertname: {name}\n" in tested
    told = re.findall(r"^## (\w+)$", (ROOT / "docs" / "alerts.md").read_text(), re.MULTILINE)
    assert name in told
    assert sorted(told) == sorted(NAMES)


def test_what_asks_for_a_better_model_says_why():
    reasons = {r["labels"].get("reason") for r in ALERTS if "action" in r["labels"]}
    assert {"latency", "energy", "fallback", "drift"} == reasons
    assert {"page", "ticket"} == {rule["labels"]["severity"] for rule in ALERTS}
