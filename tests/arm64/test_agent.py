"""The edge agent in a 64-bit ARM user land, with a fog on this machine, against the agent here."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from programs import BIN, running

ROOT = os.environ.get("HEADTAIL_ARM64_ROOT", "")
INSIDE = Path(__file__).parents[2] / "deploy" / "arm64" / "inside.sh"
WINDOWS, LENGTH = 200, 187
TOLERANCE = 1e-4
LABELS = ["n", "s", "v", "f"]
TIMEOUT_S = 300.0
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.tf,
    pytest.mark.skipif(not ROOT, reason="no ARM user land: make test-arm64 makes one"),
]


def write_model(path: Path, rng: np.random.Generator) -> None:
    """Write a heartbeat classifier's graph: two convolutions, each pooled, and a dense layer."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    stored = [
        numpy_helper.from_array((rng.standard_normal(shape) * scale).astype(np.float32), name)
        for name, shape, scale in (
            ("w1", (16, 1, 7), 0.4), ("b1", (16,), 0.1), ("w2", (32, 16, 5), 0.1),
            ("b2", (32,), 0.1), ("w3", (32 * 46, 4), 0.03),
        )
    ]  # fmt: skip
    pool = {"kernel_shape": [2], "strides": [2]}
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["c1"], pads=[3, 3]),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("MaxPool", ["r1"], ["p1"], **pool),
        helper.make_node("Conv", ["p1", "w2", "b2"], ["c2"], pads=[2, 2]),
        helper.make_node("Relu", ["c2"], ["r2"]),
        helper.make_node("MaxPool", ["r2"], ["p2"], **pool),
        helper.make_node("Flatten", ["p2"], ["f"]),
        helper.make_node("MatMul", ["f", "w3"], ["m"]),
        helper.make_node("Softmax", ["m"], ["y"], axis=1),
    ]
    ends = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 1, LENGTH]),
        helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4]),
    ]
    graph = helper.make_graph(nodes, "beats", ends[:1], ends[1:], stored)
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)


@pytest.fixture(scope="module")
def shared() -> Iterator[Path]:
    """Return a folder below the user land's root, which both agents see."""
    folder = Path(ROOT) / "srv" / "test"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def bundle(shared: Path) -> Path:
    """Return a bundle that `optimizer split` made, beside `trust` and `windows.npz`."""
    rng = np.random.default_rng(3)
    write_model(shared / "beats.onnx", rng)
    (shared / "labels.txt").write_text("\n".join(LABELS), encoding="utf-8")
    for name, count in (("own", 96), ("windows", WINDOWS)):
        x = rng.standard_normal((count, 1, LENGTH)).astype(np.float32)
        np.savez(shared / f"{name}.npz", x=x, y=rng.integers(0, 4, count))
    command = [
        BIN / "optimizer", "split", shared / "beats.onnx", "--out", shared / "beats.bundle",
        "--samples", shared / "own.npz", "--labels", shared / "labels.txt", "--points", "all",
        "--encodings", "float32,float16,int8", "--link-profile", "ble-paper",
        "--device-profile", "stm32l476-paper",
    ]  # fmt: skip
    done = subprocess.run(
        command, env=os.environ | {"HOME": str(shared)}, capture_output=True, text=True, check=False
    )
    assert 0 == done.returncode, done.stderr
    (shared / ".config" / "headtail" / "trust").rename(shared / "trust")
    return shared / "beats.bundle"


@pytest.fixture(scope="module")
def fog(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run a fog server for the bundle on this machine; return its address."""
    command = ["fog-server", "--bundles", bundle.parent, "--trust", bundle.parent / "trust"]
    command += ["--listen", "127.0.0.1:0"]
    with running(command, tmp_path_factory.mktemp("fog") / "log") as program:
        yield program.wait_for(r"serving on (\S+)")


def stream(program: list[str | Path], home: Path, fog: str, point: int, encoding: str) -> list:
    """Run an agent over the windows to the end; return its results in order."""
    sink = f"{point}-{encoding}-{len(program)}.jsonl"
    command = [
        *program, "run", "--bundle", f"{home}/beats.bundle", "--trust", f"{home}/trust",
        "--fog", fog, "--point", str(point), "--encoding", encoding, "--connect-s", "60",
        "--sink", f"jsonl:{home}/{sink}", "--source", f"npz:{home}/windows.npz",
        "--deadline-s", "60",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert 0 == done.returncode, done.stderr
    text = (Path(ROOT) / "srv" / "test" / sink).read_text(encoding="utf-8")
    results = sorted(map(json.loads, text.splitlines()), key=lambda line: line["sequence"])
    assert [*range(WINDOWS)] == [line["sequence"] - results[0]["sequence"] for line in results]
    return results


def test_user_land_is_arm() -> None:
    """The program that runs is the installed one, on another processor's instructions."""
    code = "import numpy, onnxruntime, platform; print(platform.machine())"
    command = [INSIDE, ROOT, "/opt/edge-agent/bin/python", "-c", code]
    assert "aarch64\n" == subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(
    ("point", "encoding", "where"),
    [
        (0, "float32", "fog"), (1, "float32", "fog"), (2, "float16", "fog"), (2, "int8", "fog"),
        (-1, "float32", "edge"),
    ],
)  # fmt: skip
def test_results_are_those_of_this_machine(
    shared: Path, bundle: Path, fog: str, point: int, encoding: str, where: str
) -> None:
    """Every window, wherever the model is cut; -1 is the whole model on the edge."""
    from headtail.bundle import read_bundle
    from headtail.bundle.keys import read_trust

    points = len(read_bundle(bundle, read_trust(shared / "trust")).manifest.segments) + 1
    at = point % points
    here = stream([BIN / "edge-agent"], shared, fog, at, encoding)
    arm = stream(
        [INSIDE, ROOT, "/opt/edge-agent/bin/edge-agent"], Path("/srv/test"), fog, at, encoding
    )
    assert [(where, at)] * 2 * WINDOWS == [(r["where"], r["partition_point"]) for r in here + arm]
    largest = np.abs(np.subtract(*([r["output"] for r in side] for side in (here, arm)))).max()
    said = f"point {at} {encoding}: {WINDOWS} windows, largest difference {largest:.1e}"
    print(said)  # noqa: T201 - `make test-arm64` shows it
    assert largest <= TOLERANCE
    assert [r["label"] for r in here] == [r["label"] for r in arm]
