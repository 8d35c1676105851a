"""Rules and dashboards: they parse, and what they ask for is what the programs expose."""

import re
from collections.abc import Iterator
from pathlib import Path

import promql_parser as promql
import pytest
import yaml

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"^\| `(\w+)` \| (\w+) \| (.*?) \| .*? \|$", re.MULTILINE)
ROW_OF_THE_PARENT = re.compile(r"^\| `(\w+)` \(\w+\) \|", re.MULTILINE)
PARTS_OF_A_HISTOGRAM = ("_bucket", "_sum", "_count")
OF_PROMETHEUS = {"up"}
# Worked out for whoever prices a search, not for a rule or a dashboard.
FOR_PEOPLE = {"instance_model:edge_head_seconds:mean1h", "instance:edge_network_seconds:p50"}
# Given by whoever scrapes, and by histograms.
LABELS_OF_ALL = {"instance", "job", "le"}


def documented() -> dict[str, dict[str, set[str]]]:
    """Return label values by metric, of the pages that tests compare with the programs."""
    text = (ROOT / "docs" / "workers.md").read_text()
    found: dict[str, dict[str, set[str]]] = {name: {} for name in ROW_OF_THE_PARENT.findall(text)}
    for name, kind, labels in ROW.findall((ROOT / "docs" / "metrics.md").read_text()):
        values = {
            label: set(re.findall(r"[\w-]+", listed))
            for label, listed in re.findall(r"`(\w+)`(?:: ([\w, -]+))?", labels)
        }
        suffixes = PARTS_OF_A_HISTOGRAM if kind == "histogram" else ("",)
        found |= {name + suffix: values for suffix in suffixes}
    return found


def recorded() -> set[str]:
    """Return the names that recording rules make."""
    folder = ROOT / "deploy" / "prometheus"
    texts = (yaml.safe_load((folder / f"{n}.yml").read_text()) for n in ("limits", "recording"))
    return {rule["record"] for text in texts for group in text["groups"] for rule in group["rules"]}


def selectors(node: promql.Expr) -> Iterator[promql.VectorSelector]:
    """Return every series that an expression selects."""
    if isinstance(node, promql.VectorSelector):
        yield node
    elif isinstance(node, promql.MatrixSelector):
        yield node.vector_selector
    elif isinstance(node, promql.BinaryExpr):
        yield from selectors(node.lhs)
        yield from selectors(node.rhs)
    elif isinstance(node, promql.Call):
        for argument in node.args:
            yield from selectors(argument)
    elif isinstance(node, promql.AggregateExpr | promql.ParenExpr | promql.SubqueryExpr):
        yield from selectors(node.expr)


def test_every_expression_parses_and_selects_what_is_exposed(every_query):
    """Names, labels and label values, so that no alert waits for what never comes."""
    known, made = documented(), recorded()
    seen = set()
    for query in every_query:
        for selector in selectors(promql.parse(query.text)):
            name = selector.name
            seen.add(name)
            if name in made | OF_PROMETHEUS:
                continue
            assert name in known, f"{query.place}: nothing exposes {name}"
            for matcher in selector.matchers.matchers:
                if matcher.name in LABELS_OF_ALL:
                    continue
                assert matcher.name in known[name], f"{query.place}: {name} has no {matcher.name}"
                values = known[name][matcher.name]
                assert not values or set(matcher.value.split("|")) <= values, query.place
    assert made - seen == FOR_PEOPLE


def test_grouping_is_by_labels_that_are_there(every_query):
    known = documented()
    for query in every_query:
        for match in re.finditer(r"by \(([\w, ]+)\) \(?(?:rate|increase)\((\w+)", query.text):
            labels, name = set(match[1].split(", ")), match[2]
            assert labels <= known[name].keys() | LABELS_OF_ALL, query.place


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sum(rate(edge_windows_total[5m])", "syntax|parenthes|unclosed"),
        ("rate(x)", "type|expected"),
    ],
)
def test_parser_refuses_what_is_wrong(text, said):
    with pytest.raises(ValueError, match=said):
        promql.parse(text)
