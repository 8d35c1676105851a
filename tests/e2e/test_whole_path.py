"""From a recipe to results: the optimizer's bundle, a fog server and an agent as processes."""

import json
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from prometheus_client.parser import text_string_to_metric_families

from headtail.bundle import Manifest
from headtail.bundle.archive import read_bundle
from headtail.bundle.keys import read_trust
from headtail.preprocess.pipeline import Pipeline
from optimizer.data.record import write_record
from optimizer.data.synthetic import make_record
from programs import Program, running

pytestmark = [pytest.mark.e2e, pytest.mark.tf]
Run = Callable[..., "subprocess.CompletedProcess[str]"]
ROOT = Path(__file__).resolve().parents[2]
LINE_KEYS = [
    "sequence",
    "label",
    "output",
    "where",
    "partition_point",
    "encoding",
    "latency_s",
    "head_s",
    "tail_s",
    "tx_bytes",
    "energy_j",
    "bundle",
    "sample",
]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an empty home folder, where the development key is made on first use."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def trained(run: Run, tmp_path_factory: pytest.TempPathFactory, home: Path) -> Path:
    """Return the folder of a run of the synthetic recipe."""
    folder = tmp_path_factory.mktemp("runs") / "synthetic"
    recipe = ROOT / "recipes" / "synthetic.toml"
    process = run("optimizer", "run", recipe, "--out", folder, HOME=str(home))
    assert process.returncode == 0, process.stderr
    assert "synthetic" in process.stdout + process.stderr
    return folder


@pytest.fixture(scope="module")
def bundle(trained: Path) -> Path:
    """Return the bundle it wrote."""
    (path,) = trained.glob("*.bundle")
    return path


@pytest.fixture(scope="module")
def manifest(bundle: Path, home: Path) -> Manifest:
    """Return its manifest."""
    return read_bundle(bundle, read_trust(home / ".config" / "headtail" / "trust")).manifest


@pytest.fixture(scope="module")
def fog(bundle: Path, home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """Run a fog server for the bundle."""
    flags = ["--trust", home / ".config" / "headtail" / "trust", "--metrics", "127.0.0.1:0"]
    command = ["fog-server", "--bundles", bundle.parent, "--listen", "127.0.0.1:0", *flags]
    with running(command, tmp_path_factory.mktemp("fog") / "log") as program:
        program.wait_for(r"serving on (\S+)")
        yield program


@pytest.fixture(scope="module")
def expected(trained: Path, manifest: Manifest) -> np.ndarray:
    """Return what the uncut model says of the windows in test.npz."""
    pipeline = Pipeline(manifest.preprocess)
    with np.load(trained / "test.npz") as file:
        x = np.stack([pipeline.window(window) for window in file["x"]])
    whole = ort.InferenceSession(trained / "model.onnx")
    (outputs,) = whole.run(None, {whole.get_inputs()[0].name: x})
    return outputs


def results(path: Path) -> list[dict[str, object]]:
    """Return the lines of a sink."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_every_window_comes_back_from_the_fog_in_order(
    run: Run,
    fog: Program,
    bundle: Path,
    trained: Path,
    home: Path,
    tmp_path: Path,
    expected: np.ndarray,
) -> None:
    """At float32 the answers are the uncut model's; the line has the documented keys."""
    sink, address = tmp_path / "out.jsonl", fog.wait_for(r"serving on (\S+)")
    process = run(
        *("edge-agent", "run", "--bundle", bundle, "--fog", address, "--encoding", "float32"),
        *("--source", f"npz:{trained / 'test.npz'}", "--sink", f"jsonl:{sink}"),
        HOME=str(home),
    )
    assert process.returncode == 0, process.stderr
    lines = results(sink)
    assert list(range(len(expected))) == [r["sequence"] for r in lines]
    assert {"fog"} == {r["where"] for r in lines}
    assert LINE_KEYS == list(lines[0])
    assert {"compute", "tx"} == lines[0]["energy_j"].keys()
    error = np.abs(np.array([r["output"] for r in lines]) - expected).max()
    assert error <= 1e-5 * np.abs(expected).max()


def test_modelled_energy_of_a_window_is_the_manifest_s_cost(
    run: Run,
    fog: Program,
    bundle: Path,
    trained: Path,
    home: Path,
    tmp_path: Path,
    manifest: Manifest,
) -> None:
    """The same functions price a point in the manifest and a message on the edge."""
    sink, address = tmp_path / "out.jsonl", fog.wait_for(r"serving on (\S+)")
    flags = ("--batch", "1", "--sink", f"jsonl:{sink}", "--source", f"npz:{trained / 'test.npz'}")
    process = run("edge-agent", "run", "--bundle", bundle, "--fog", address, *flags, HOME=str(home))
    assert process.returncode == 0, process.stderr
    costs = manifest.points[manifest.default_point].costs
    cost = next(c for c in costs if c.encoding is manifest.default_encoding)
    for line in results(sink):
        energy = line["energy_j"]
        assert energy["compute"] == pytest.approx(cost.head_j, rel=1e-6)
        assert energy["tx"] == pytest.approx(cost.tx_j, rel=1e-6)


def test_a_bundle_can_be_fetched_from_the_fog(
    run: Run, fog: Program, home: Path, trained: Path, tmp_path: Path, manifest: Manifest
) -> None:
    """`--model NAME` needs no bundle file on the device."""
    address = fog.wait_for(r"serving on (\S+)")
    sink = tmp_path / "out.jsonl"
    process = run(
        *("edge-agent", "run", "--model", manifest.name, "--fog", address),
        *("--source", f"npz:{trained / 'test.npz'}", "--sink", f"jsonl:{sink}"),
        *("--state", tmp_path / "state"),
        HOME=str(home),
    )
    assert process.returncode == 0, process.stderr
    assert {"fog"} == {r["where"] for r in results(sink)}


def test_without_a_fog_the_edge_finishes_alone(
    run: Run, bundle: Path, trained: Path, home: Path, tmp_path: Path, expected: np.ndarray
) -> None:
    """Nobody listens on port 9 here: every window is finished locally and says so."""
    sink = tmp_path / "out.jsonl"
    process = run(
        *("edge-agent", "run", "--bundle", bundle, "--fog", "127.0.0.1:9"),
        *("--source", f"npz:{trained / 'test.npz'}", "--sink", f"jsonl:{sink}"),
        HOME=str(home),
    )
    assert process.returncode == 0, process.stderr
    lines = results(sink)
    assert {"edge"} == {r["where"] for r in lines}
    error = np.abs(np.array([r["output"] for r in lines]) - expected).max()
    assert error <= 1e-5 * np.abs(expected).max()
    assert process.stderr.count("fog away") == 1


def test_both_metrics_pages_parse_and_follow_the_names(
    fog: Program, bundle: Path, home: Path, tmp_path: Path
) -> None:
    """Prefix, unit suffix, and the label that says a figure is modelled."""
    address = fog.wait_for(r"serving on (\S+)")
    command = [
        *("edge-agent", "run", "--bundle", bundle, "--fog", address, "--metrics", "127.0.0.1:0"),
        *("--source", f"wfdb:{write_synthetic(tmp_path)}", "--sink", f"jsonl:{tmp_path / 'o'}"),
        *("--trust", home / ".config" / "headtail" / "trust", "--speed", "20"),
    ]
    with running(command, tmp_path / "edge.log") as edge:
        page = edge.wait_for(r"metrics on (\S+)")
        while edge.process.poll() is None:
            families = read_page(page)
            energy = [s for s in families.get("edge_energy_joules", []) if s.value > 0]
            if energy:
                break
    assert energy
    for sample in energy:
        assert {"component", "profile", "mode", "modelled"} == sample.labels.keys()
        assert sample.labels["modelled"] == "true"
    assert families["edge_latency_seconds"]
    assert all(name.startswith(("edge_", "python_", "process_")) for name in families)
    fog_page = read_page(fog.wait_for(r"metrics on (\S+)"))
    assert fog_page["fog_windows"]
    assert all(name.startswith(("fog_", "python_", "process_")) for name in fog_page)


def write_synthetic(folder: Path) -> Path:
    """Write ten minutes of synthetic ECG as a WFDB record and return its path."""
    return write_record(folder, "synthetic", make_record(600.0, np.random.default_rng(5)))


def read_page(page: str) -> dict[str, list]:
    """Return the samples of a metrics page by family."""
    with urllib.request.urlopen(page, timeout=10) as response:
        text = response.read().decode()
    return {f.name: f.samples for f in text_string_to_metric_families(text)}
