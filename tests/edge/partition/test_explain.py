"""The table that a plan is chosen from: on a link that is described, and of a running agent."""

from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from edge_agent.cli import main
from edge_agent.partition.explain_command import fetch, quantity
from edge_agent.partition.path import PATH
from edge_agent.partition.table import Table, of_running, render
from headtail.errors import ConfigError
from headtail.metrics import MetricsPage
from partition_world import World, steady


@pytest.fixture
def path(bundle, write_test_bundle, tmp_path: Path) -> str:
    """Return the bundle's file."""
    return str(write_test_bundle(tmp_path, "chain"))


def explain(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Return what `edge-agent explain` prints."""
    assert main(["explain", *words]) == 0
    return capsys.readouterr().out


def test_link_that_is_described(capsys, path: str, key_folder: Path) -> None:
    """A link that carries nothing leaves all on the edge; every option is there, best first."""
    words = ("--bundle", path, "--trust", str(key_folder / "trust"), "--json")
    text = explain(capsys, *words, "--uplink", "1bit/s", "--round-trip", "1s")
    table = msgspec.json.decode(text, type=Table)
    latencies = [row.latency_s for row in table.rows]
    assert sorted(latencies) == latencies
    assert (1.0, 1.0) == (table.uplink_bits_per_s, table.round_trip_s)
    assert 3 == table.rows[0].partition_point
    assert [True] + [False] * (len(latencies) - 1) == [row.is_chosen for row in table.rows]
    assert {(k, e) for k in range(3) for e in ("float32", "float16", "int8", "int4")} <= {
        (row.partition_point, row.encoding) for row in table.rows
    }


def test_point_that_is_named_leaves_the_encodings(capsys, path: str, key_folder: Path) -> None:
    words = ("--bundle", path, "--trust", str(key_folder / "trust"), "--uplink", "1Mbit/s")
    text = explain(capsys, *words, "--point", "1", "--json")
    assert {1} == {row.partition_point for row in msgspec.json.decode(text, type=Table).rows}
    assert ">" in explain(capsys, *words, "--point", "1")


@pytest.mark.parametrize(
    ("words", "match"),
    [
        ((), "expected http://HOST:PORT, or --bundle"),
        (("http://a", "--bundle", "b"), "expected http://HOST:PORT, or --bundle"),
        (("--bundle", "b", "--uplink", "3"), "--uplink: expected a number of"),
        (("ftp://a",), "expected http://HOST:PORT"),
    ],
)
def test_what_cannot_be_explained(capsys, words: tuple[str, ...], match: str) -> None:
    assert main(["explain", *words]) == 1
    assert match in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "value"), [("1Mbit/s", 1e6), ("20 kbit/s", 2e4), ("2.5e3bit/s", 2500.0)]
)
def test_quantity(text: str, value: float) -> None:
    assert value == quantity(text, "bit/s", "--uplink")


@pytest.mark.parametrize(
    "text", ["", "1", "ms", "1e", "0Mbit/s", "1e999Mbit/s", "1.2.3Mbit/s", "5ms"]
)
def test_no_quantity(text: str) -> None:
    with pytest.raises(ConfigError, match="--uplink"):
        quantity(text, "bit/s", "--uplink")


@pytest.mark.parametrize("documents", [{}, {PATH: lambda: None}])
def test_agent_whose_point_is_fixed(documents: dict) -> None:
    """It says so, and so does an older one that knows no such page."""
    with (
        closing(MetricsPage("127.0.0.1:0", CollectorRegistry(), {}, documents)) as page,
        pytest.raises(ConfigError, match="is --partition live"),
    ):
        fetch(f"http://{page.address}")


def test_running_agent(begin, options) -> None:
    """The page beside the metrics is the table."""
    world = World(steady(5e6, 0.01))
    live = begin(world)
    world.run(live, 40)
    documents = {PATH: lambda: msgspec.json.encode(of_running(live))}
    with closing(MetricsPage("127.0.0.1:0", CollectorRegistry(), {}, documents)) as page:
        table = fetch(page.address)
        assert table.rows == of_running(live).rows
    assert len(options) == len(table.rows)
    chosen = [row for row in table.rows if row.is_chosen]
    assert [live.plan.key] == [(r.partition_point, r.encoding, r.compression) for r in chosen]
    assert abs(table.uplink_bits_per_s / 5e6 - 1) < 0.2
    lines = render(table).splitlines()
    assert 4 + len(options) <= len(lines)
    assert sum(line.startswith(">") for line in lines) == 1
