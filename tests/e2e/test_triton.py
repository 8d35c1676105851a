"""A stock Triton as the fog: exported tails, the real server, the real agent."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from edge_agent.fog_check import Tail
from edge_agent.fog_client import FogClient
from edge_agent.plan import choose_plan
from environments import Unavailable
from headtail.bundle import Bundle, read_bundle
from headtail.errors import ModelNotFound, RequestInvalid
from headtail.segment import Chain
from headtail.tensor import Array
from headtail.wire import Encoding, decode
from optimizer.export_triton.export import export
from optimizer.export_triton.settings import Backend, Settings
from triton_server import triton_running

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.tf]
WINDOWS, POINT, TIMEOUT_S = 41, 1, 20.0
SETTINGS = Settings(Backend.PYTHON, preferred=(4,))
Write = Callable[..., Path]


@pytest.fixture(scope="module")
def bundles(write_test_bundle: Write, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return bundles by name and version; a version of several numbers is none for Triton."""
    folder = tmp_path_factory.mktemp("bundles")
    return {
        "chain 1.10.0": write_test_bundle(folder, "chain", version="1.10.0"),
        "chain 2": write_test_bundle(folder, "chain", version="2"),
        "fixed 3": write_test_bundle(folder, "fixed", version="3"),
    }


@pytest.fixture(scope="module")
def triton(bundles, trust, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run a Triton on what the bundles were exported to; return its address."""
    folder = tmp_path_factory.mktemp("triton")
    repository = folder / "repository"
    for path in bundles.values():
        encodings = (Encoding.INT8,) if path.name == "chain-2.bundle" else ()
        export(read_bundle(path, trust), repository, SETTINGS, (POINT,), encodings)
    try:
        with triton_running(repository, folder / "work") as server:
            yield server.address
    except Unavailable as reason:
        pytest.skip(str(reason))


def expected(bundle: Bundle, inputs: dict[str, Array], encoding: str) -> Array:
    """Return the model's outputs after the activation was carried, by our own tail."""
    chain, plan = Chain(bundle), choose_plan(bundle.manifest, str(POINT), encoding)
    wire = plan.point.wire(plan.encoding)
    assert wire is not None
    activation = chain.head(inputs, POINT)
    arrived = {
        spec.name: decode(array, spec, wire.affine.get(spec.name))
        for spec, array in zip(plan.point.activation, plan.encode(activation), strict=True)
    }
    return chain.tail(arrived, POINT)["y"]


@pytest.mark.parametrize(
    ("key", "encoding", "batch"),
    [
        ("chain 1.10.0", "float32", 8),
        ("chain 1.10.0", "float16", 1),
        ("chain 1.10.0", "int8", 8),
        ("chain 1.10.0", "int4", 8),
        ("chain 2", "int8", 3),
        ("fixed 3", "float16", 1),
        ("fixed 3", "int4", 1),
    ],
)
def test_agent_gets_from_triton_what_our_tail_gives(
    run, triton, bundles, trust, key_folder, tmp_path, key, encoding, batch
):
    """Every window is answered by the fog, in any encoding, coalesced or not."""
    bundle = read_bundle(bundles[key], trust)
    rng = np.random.default_rng(5)
    inputs = {}
    for spec in bundle.manifest.inputs:
        shape = (WINDOWS, *spec.shape[spec.is_batchable :])
        values = (
            rng.standard_normal(shape) if spec.dtype == "float32" else rng.integers(0, 3, shape)
        )
        inputs[spec.name] = values.astype(spec.dtype)
    np.savez(tmp_path / "windows.npz", **inputs)
    process = run(
        *("edge-agent", "run", "--bundle", bundles[key], "--trust", key_folder / "trust"),
        *("--fog", triton, "--point", str(POINT), "--encoding", encoding, "--batch", str(batch)),
        *("--source", f"npz:{tmp_path / 'windows.npz'}", "--sink", f"jsonl:{tmp_path / 'out'}"),
        *("--deadline-s", str(TIMEOUT_S), "--connect-s", str(TIMEOUT_S)),
    )
    assert process.returncode == 0, process.stderr
    lines = [json.loads(line) for line in (tmp_path / "out").read_text().splitlines()]
    assert [("fog", POINT, encoding)] * WINDOWS == [
        (line["where"], line["partition_point"], line["encoding"]) for line in lines
    ]
    if bundle.manifest.is_batchable:
        outputs = expected(bundle, inputs, encoding)
    else:
        rows = [{n: a[i] for n, a in inputs.items()} for i in range(WINDOWS)]
        outputs = np.stack([expected(bundle, row, encoding) for row in rows])
    np.testing.assert_allclose(outputs, [line["output"] for line in lines], rtol=1e-5, atol=1e-6)


def test_agent_that_chooses_stays_with_what_triton_has(run, triton, bundles, key_folder, tmp_path):
    """Three points offer tails; one of them was exported, and the device can run the whole."""
    windows = np.random.default_rng(6).standard_normal((200, 16, 2)).astype(np.float32)
    np.savez(tmp_path / "windows.npz", x=windows)
    process = run(
        *("edge-agent", "run", "--bundle", bundles["chain 1.10.0"], "--fog", triton),
        *("--trust", key_folder / "trust", "--partition", "live", "--partition-dwell-s", "0.01"),
        *("--source", f"npz:{tmp_path / 'windows.npz'}", "--sink", f"jsonl:{tmp_path / 'out'}"),
        *("--deadline-s", str(TIMEOUT_S), "--connect-s", str(TIMEOUT_S)),
    )
    assert process.returncode == 0, process.stderr
    lines = [json.loads(line) for line in (tmp_path / "out").read_text().splitlines()]
    assert 200 == len({line["sequence"] for line in lines}) == len(lines)
    places = {(line["partition_point"], line["where"]) for line in lines}
    assert places <= {(POINT, "fog"), (3, "edge")}


def tail_of(bundle: Bundle, version: str = "", digest: str = "") -> Tail:
    """Return what an agent wants at the point, in int8."""
    manifest = bundle.manifest
    plan = choose_plan(manifest, str(POINT), "int8")
    return Tail(
        plan.tail_name,
        version or manifest.version,
        plan.wire_specs,
        manifest.name,
        digest or bundle.digest,
    )


def test_agent_learns_which_tails_triton_has_ready(triton, bundles, trust):
    """Of version 2 one encoding was exported; of 1.10.0 all at one point."""
    streams = {}
    for key in ("chain 1.10.0", "chain 2"):
        client = FogClient(triton, tail_of(read_bundle(bundles[key], trust)), TIMEOUT_S)
        streams[key] = client.connect()
        streams[key].close()
    names = [f"chain-tail{k}-{e.value}" for k in (POINT, 2) for e in Encoding]
    assert names[:4] == [n for n in names if streams["chain 1.10.0"].serves(n)]
    assert ["chain-tail1-int8"] == [n for n in names if streams["chain 2"].serves(n)]


def test_agent_refuses_tritons_tail_of_another_bundle(triton, bundles, trust):
    """The configuration names the digest that the tail was exported from."""
    tail = tail_of(read_bundle(bundles["chain 1.10.0"], trust), digest="0" * 64)
    with pytest.raises(RequestInvalid, match=r"is of bundle .{12}, this agent's is 000000000000"):
        FogClient(triton, tail, TIMEOUT_S).connect()


def test_version_that_triton_would_misread_is_not_found(triton, bundles, trust):
    """Triton takes 2.0 for 2, another bundle's."""
    tail = tail_of(read_bundle(bundles["chain 1.10.0"], trust), version="2.0")
    with pytest.raises(ModelNotFound, match=r"2\.0"):
        FogClient(triton, tail, TIMEOUT_S).connect()
