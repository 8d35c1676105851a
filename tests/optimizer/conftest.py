"""Hand-built ONNX models, a profile kit and finished runs, each for several tests."""

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import ArrayLike
from onnx import TensorProto, helper, numpy_helper
from run_case import PROGRAM, SECONDS

from headtail.profile_kit import Kit, read_kit
from optimizer.profile_kit import write_sample

SYNTHETIC = Path(__file__).parents[2] / "recipes" / "synthetic.toml"
Shape = tuple[int | str | None, ...]


@dataclass(frozen=True)
class OnnxText:
    """A model as a test writes it down: nodes with float32 tensors around them."""

    nodes: Sequence[onnx.NodeProto]
    inputs: Mapping[str, Shape]
    outputs: Sequence[str] = ("y",)
    weights: Mapping[str, ArrayLike] = field(default_factory=dict)
    opset: int = 17
    types: Mapping[str, int] = field(default_factory=dict)
    ir_version: int = 8

    def proto(self) -> onnx.ModelProto:
        """Return the model; open axes are None or a name."""
        kinds = {n: self.types.get(n, TensorProto.FLOAT) for n in (*self.inputs, *self.outputs)}
        graph = helper.make_graph(
            list(self.nodes),
            "test",
            [helper.make_tensor_value_info(n, kinds[n], s) for n, s in self.inputs.items()],
            [helper.make_tensor_value_info(n, kinds[n], None) for n in self.outputs],
            [numpy_helper.from_array(_array(w), n) for n, w in self.weights.items()],
        )
        opsets = [helper.make_opsetid("", self.opset)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=self.ir_version)

    def content(self) -> bytes:
        """Return the model as a file holds it."""
        return self.proto().SerializeToString()


@pytest.fixture
def onnx_model() -> Callable[..., bytes]:
    """Build a serialised model: `onnx_model(nodes, inputs, outputs, weights, opset=17)`."""
    return lambda *args, **kwargs: OnnxText(*args, **kwargs).content()


@pytest.fixture
def small_cnn() -> bytes:
    """Two convolutions with a pooling between them, then a dense layer with a softmax."""
    return cnn_text(np.random.default_rng(1)).content()


@pytest.fixture
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder of the test's own, so that a development key is made there."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def cnn_text(rng: np.random.Generator) -> OnnxText:
    """Return the text of `small_cnn`."""
    node = helper.make_node
    return OnnxText(
        nodes=[
            node("Conv", ["x", "w1", "b1"], ["c1"], pads=[1, 1, 1, 1]),
            node("Relu", ["c1"], ["r1"]),
            node("MaxPool", ["r1"], ["p1"], kernel_shape=[2, 2], strides=[2, 2]),
            node("Conv", ["p1", "w2"], ["c2"], pads=[1, 1, 1, 1]),
            node("BatchNormalization", ["c2", "scale", "shift", "mean", "variance"], ["n2"]),
            node("Relu", ["n2"], ["r2"]),
            node("GlobalAveragePool", ["r2"], ["g"]),
            node("Flatten", ["g"], ["f"]),
            node("Gemm", ["f", "w3", "b3"], ["logits"]),
            node("Softmax", ["logits"], ["y"], axis=1),
        ],
        inputs={"x": ("N", 3, 8, 8)},
        weights={
            "w1": rng.standard_normal((4, 3, 3, 3)),
            "b1": rng.standard_normal(4),
            "w2": rng.standard_normal((6, 4, 3, 3)),
            "scale": rng.uniform(0.5, 2, 6),
            "shift": rng.standard_normal(6),
            "mean": rng.standard_normal(6),
            "variance": rng.uniform(0.5, 2, 6),
            "w3": rng.standard_normal((6, 5)),
            "b3": rng.standard_normal(5),
        },
    )


def _array(value: ArrayLike) -> np.ndarray:
    array = np.asarray(value)
    return array.astype(np.float32) if array.dtype.kind == "f" else array


@pytest.fixture(scope="session")
def tensorflow() -> None:
    """Load TensorFlow once, as the program does."""
    from optimizer.chatter import load_tensorflow

    load_tensorflow()


@pytest.fixture(scope="session")
def kit_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a kit of 32 layers, made with seed 3."""
    path = tmp_path_factory.mktemp("kit") / "kit.zip"
    write_sample(path, 32, seed=3)
    return path


@pytest.fixture(scope="session")
def kit(kit_path: Path) -> Kit:
    """Return it read."""
    return read_kit(kit_path)


@pytest.fixture(scope="session")
def start_run(key_folder: Path) -> Callable[..., subprocess.Popen[str]]:
    """Return a function that starts `optimizer run` on recipes/synthetic.toml as a process."""

    def start(out: Path, hash_seed: int) -> subprocess.Popen[str]:
        command = [*PROGRAM, "run", str(SYNTHETIC), "--out", str(out)]
        return subprocess.Popen(
            [*command, "--key", str(key_folder / "test.key")],
            env={**os.environ, "PYTHONHASHSEED": str(hash_seed)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


@pytest.fixture(scope="session")
def finished_runs(
    start_run: Callable[..., subprocess.Popen[str]], tmp_path_factory: pytest.TempPathFactory
) -> list[tuple[Path, str, str]]:
    """Return folder, stdout and stderr of two finished runs, made by two processes."""
    folders = [tmp_path_factory.mktemp("run") / "out" for _ in range(2)]
    processes = [start_run(folder, i + 1) for i, folder in enumerate(folders)]
    try:
        texts = [process.communicate(timeout=SECONDS) for process in processes]
    finally:
        for process in processes:
            process.kill()
    for process, (_, stderr) in zip(processes, texts, strict=True):
        assert process.returncode == 0, stderr
    return [(folder, *text) for folder, text in zip(folders, texts, strict=True)]
