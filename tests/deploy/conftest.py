"""Every query of the alert rules and the dashboards, and what the metrics page documents."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
# What Grafana puts in for its own variables.
FILLED = {"$__rate_interval": "1m", "$instance": ".*"}


@dataclass(frozen=True, slots=True)
class Query:
    """One PromQL expression and where it stands."""

    place: str
    text: str


def rules() -> dict[str, list[dict]]:
    """Return the rules by file."""
    found = {}
    for path in sorted((DEPLOY / "prometheus").glob("*.yml")):
        groups = (yaml.safe_load(path.read_text()) or {}).get("groups", [])
        if groups:
            found[path.name] = [rule for group in groups for rule in group["rules"]]
    return found


def dashboards() -> dict[str, dict]:
    """Return the dashboards by file."""
    folder = DEPLOY / "grafana" / "dashboards"
    return {path.name: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}


def queries() -> list[Query]:
    """Return every expression of both."""
    found = [
        Query(f"{name}: {rule.get('alert') or rule['record']}", rule["expr"])
        for name, listed in rules().items()
        for rule in listed
    ]
    for name, dashboard in dashboards().items():
        for panel in dashboard["panels"]:
            found += [Query(f"{name}: {panel['title']}", t["expr"]) for t in panel["targets"]]
        for variable in dashboard["templating"]["list"]:
            if variable["type"] == "query":
                text = re.fullmatch(r"label_values\((\w+), \w+\)", variable["query"]["query"])[1]
                found.append(Query(f"{name}: ${variable['name']}", text))
    return [Query(q.place, _filled(q.text)) for q in found]


def _filled(text: str) -> str:
    for variable, value in FILLED.items():
        text = text.replace(variable, value)
    return text


@pytest.fixture(scope="session")
def every_query() -> list[Query]:
    """Return every expression of rules and dashboards, Grafana's variables filled in."""
    return queries()
