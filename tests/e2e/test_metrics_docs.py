"""docs/metrics.md against the pages of the running programs: each metric there, none besides."""

import re
import subprocess
import sys
import threading
from pathlib import Path
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families

from programs import BIN, Program, running

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(sys.platform != "linux", reason="process metrics come from /proc"),
]
DOCS = Path(__file__).parents[2] / "docs" / "metrics.md"
ROW = re.compile(r"^\| `(\w+)` \| (\w+) \| (.*?) \| (.*?) \|$", re.MULTILINE)
IMPLIED = {"le", "quantile"}


def documented(prefix: str) -> dict[str, tuple[str, dict[str, set[str]], str]]:
    """Return type, label values and text by name; a label without values takes any."""
    found = {}
    for name, kind, labels, text in ROW.findall(DOCS.read_text()):
        if name.startswith((prefix, "process_")):
            values = {
                label: set(re.findall(r"[\w-]+", listed))
                for label, listed in re.findall(r"`(\w+)`(?:: ([\w, -]+))?", labels)
            }
            found[name] = (kind, values, text)
    return found


def exported(address: str) -> dict[str, tuple[str, dict[str, set[str]], str]]:
    """Return the same of a page; the values are those seen."""
    with urlopen(f"http://{address}/metrics", timeout=20) as page:
        families = list(text_string_to_metric_families(page.read().decode()))
    found = {}
    for family in families:
        if family.name.endswith("_created"):
            continue
        values: dict[str, set[str]] = {}
        for sample in family.samples:
            for label, value in sample.labels.items():
                if label not in IMPLIED:
                    values.setdefault(label, set()).add(value)
        name = family.name + "_total" * (family.type == "counter")
        found[name] = (family.type, values, family.documentation)
    return found


def assert_agree(page: dict, docs: dict) -> None:
    """Compare names, types, texts, labels, and values where the documentation lists them."""
    rows = [f"| `{n}` | {k} | {_labels(v)} | {t} |" for n, (k, v, t) in sorted(page.items())]
    assert page.keys() == docs.keys(), "\n".join(rows)
    for name, (kind, values, text) in page.items():
        assert (kind, text) == (docs[name][0], docs[name][2]), name
        # A label set that nothing has happened for yet is not on the page.
        assert not values or values.keys() == docs[name][1].keys(), name
        for label, listed in docs[name][1].items():
            seen = values.get(label, set())
            assert not listed or seen <= listed, (name, label)
            # What a metric starts with at zero is there at once.
            assert label not in ("reason", "direction", "level") or seen == listed, (name, label)


def _labels(values: dict[str, set[str]]) -> str:
    return "; ".join(f"`{label}`: {', '.join(sorted(v))}" for label, v in values.items())


@pytest.fixture
def fog(write_test_bundle, key_folder, tmp_path):
    """Return a running fog server and its folder."""
    write_test_bundle(tmp_path)
    trust = ("--trust", key_folder / "trust")
    pages = ("--rollout", "--capture", "--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0")
    with running(("fog-server", "--bundles", tmp_path, *trust, *pages), tmp_path / "fog.log") as it:
        yield it


def page_of(program: Program) -> str:
    """Return the address of a program's page."""
    return program.wait_for(r"metrics on http://(\S+)/metrics")


def test_every_metric_of_both_programs_is_documented(fog, key_folder, tmp_path):
    """After a window through both, with spool and updates: every part of the pages is there."""
    command = [
        BIN / "edge-agent", "run", "--bundle", next(tmp_path.glob("*.bundle")),
        "--trust", key_folder / "trust", "--fog", fog.wait_for(r"serving on (\S+)"),
        "--source", "stdin", "--sink", f"jsonl:{tmp_path / 'out.jsonl'}", "--connect-s", "20",
        "--deadline-s", "20", "--metrics", "127.0.0.1:0",
        "--partition", "live", "--updates", "on", "--capture-ratio", "1",
        "--state", tmp_path / "state",
    ]  # fmt: skip
    log = tmp_path / "edge.log"
    with (
        log.open("wb") as file,
        subprocess.Popen(command, stdin=subprocess.PIPE, stderr=file) as process,
    ):
        agent = Program(process, log)
        agent.wait_for("fog (connected)")
        process.stdin.write(b"%a\n" % [[[0.5, 1.5]] * 16][0])
        process.stdin.flush()
        address = page_of(agent)
        while not any(line for line in (tmp_path / "out.jsonl").read_text().splitlines()):
            assert process.poll() is None, agent.text
            threading.Event().wait(0.01)
        edge, server = exported(address), exported(page_of(fog))
        process.stdin.close()
        assert 0 == process.wait(20), agent.text
    assert_agree(edge, documented("edge_"))
    assert_agree(server, documented("fog_"))
