"""What is measured: bundles of one head and one tail, made once by our own optimizer and kept.

Three have a tail of no weight, so that what is seen is the way to it and back; three are real
networks, cut between edge and fog where a window costs least. Run as a program, it makes them all.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "deploy"), str(ROOT / "tests" / "peers")]

from headtail.bundle import Bundle, read_bundle  # noqa: E402
from headtail.bundle.keys import read_trust  # noqa: E402
from headtail.tensor import Array, TensorSpec  # noqa: E402
from headtail.wire import Encoding  # noqa: E402
from programs import BIN  # noqa: E402 - lies beside the demo, in no package
from tail_servers import PeerTail  # noqa: E402

CACHE = Path.home() / ".cache" / "headtail" / "benchmarks"
POINT = 1  # of the two segments: the head on the edge, the tail in the fog
SAMPLES = 4  # windows that a cut is verified on
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How the bundle of a task is made."""

    name: str
    about: str
    graph: Callable[[Path], Path]
    """Makes the whole model in a folder and returns the .onnx file."""
    window: tuple[int, ...]
    cut: int | None = None
    """Number of the cut; None looks for the best."""
    flags: tuple[str, ...] = ()
    """Of `optimizer split`: device and link."""
    cost: tuple[str, str] = ("head_s", "tx_s")
    """What the best cut has the least of, summed."""
    weight: float = 1.0
    """Share of a run's time."""


class Task:
    """A bundle with partition points 0, 1 and 2, and the tail at 1 as a file of its own."""

    def __init__(self, recipe: Recipe, folder: Path) -> None:
        """Remember where it lies."""
        self.name, self.about, self.folder = recipe.name, recipe.about, folder
        self.weight = recipe.weight
        self.bundle_path = folder / "task.bundle"

    @cached_property
    def bundle(self) -> Bundle:
        """The bundle, checked."""
        return read_bundle(self.bundle_path, read_trust())

    @property
    def activation(self) -> tuple[TensorSpec, ...]:
        """What crosses the cut."""
        return self.bundle.manifest.points[POINT].activation

    @property
    def activation_bytes(self) -> int:
        """Of one window, as float32."""
        return sum(spec.window_bytes for spec in self.activation)

    @property
    def tail_name(self) -> str:
        """Under which our fog serves the tail."""
        return self.bundle.manifest.tail_name(POINT, Encoding.FLOAT32)

    def peer_tail(self) -> PeerTail:
        """Return the tail for servers that know no bundles."""
        graph = self.folder / "tail.onnx"
        graph.write_bytes(self.bundle.segments[POINT])
        return PeerTail("tail", graph, self.activation, self.bundle.manifest.outputs)

    def arrays(self, windows: int) -> tuple[Array, ...]:
        """Return activations of so many windows, of noise: what they hold takes no time."""
        rng = np.random.default_rng(0)
        return tuple(
            rng.standard_normal((windows, *spec.shape[1:])).astype(spec.dtype)
            for spec in self.activation
        )


def tiny_graph(folder: Path, values: int) -> Path:
    """Write a model whose tail folds `values` floats into 64 and makes 8 outputs of them."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    constants = {
        "times": np.array([1, values // 64], np.int64),
        "gain": rng.standard_normal(values).astype(np.float32),
        "folds": np.array([-1, values // 64, 64], np.int64),
        "weight": rng.standard_normal((64, 8)).astype(np.float32),
        "bias": np.zeros(8, np.float32),
    }
    nodes = [
        helper.make_node("Tile", ["x", "times"], ["many"]),
        helper.make_node("Mul", ["many", "gain"], ["a"]),
        helper.make_node("Reshape", ["a", "folds"], ["folded"]),
        helper.make_node("ReduceMean", ["folded"], ["mean"], axes=[1], keepdims=0),
        helper.make_node("Gemm", ["mean", "weight", "bias"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 8])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    path = folder / "whole.onnx"
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), path)
    return path


def ecg_graph(folder: Path) -> Path:
    """Train the network of recipes/synthetic.toml and return its graph."""
    run = folder / "run"
    if not (run / "model.onnx").exists():
        command = [BIN / "optimizer", "run", ROOT / "recipes" / "synthetic.toml", "--out", run]
        subprocess.run(command, check=True, capture_output=True)
    return run / "model.onnx"


def keras_graph(folder: Path, network: str) -> Path:
    """Export a network of keras.applications with random weights."""
    code = (
        "import keras\nfrom pathlib import Path\nfrom optimizer.keras_onnx import export_keras\n"
        "keras.utils.set_random_seed(0)\n"
        f"model = keras.applications.{network}(weights=None)\n"
        f"Path({str(folder / 'whole.onnx')!r}).write_bytes(export_keras(model))\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, cwd=ROOT)
    return folder / "whole.onnx"


def _tiny(name: str, values: int) -> Recipe:
    return Recipe(
        name, "a tail of no weight", lambda folder: tiny_graph(folder, values), (64,), cut=0
    )


WIFI = ("--device-profile", "raspberry-pi-4", "--link-profile", "wifi-esp32")
BLE = ("--device-profile", "stm32l476-paper", "--link-profile", "ble-paper")
RECIPES = (
    _tiny("1 KB", 256),
    _tiny("16 KB", 4096),
    _tiny("256 KB", 65536),
    Recipe(
        "ECG", "recipes/synthetic.toml, least edge energy on an STM32L476 with BLE",
        ecg_graph, (192, 1), flags=BLE, cost=("head_j", "tx_j"),
    ),
    Recipe(
        "MobileNetV2", "random weights, least head and sending time on a Raspberry Pi 4 with Wi-Fi",
        lambda folder: keras_graph(folder, "MobileNetV2"), (224, 224, 3), flags=WIFI, weight=1.2,
    ),
    Recipe(
        "InceptionV3", "random weights, least head and sending time on a Raspberry Pi 4 with Wi-Fi",
        lambda folder: keras_graph(folder, "InceptionV3"), (299, 299, 3), flags=WIFI, weight=2.0,
    ),
)  # fmt: skip


def make_task(recipe: Recipe, say: Say, cache: Path = CACHE) -> Task:
    """Return a task; its bundle is made where the cache has none."""
    folder = cache / recipe.name.replace(" ", "-").lower()
    task = Task(recipe, folder)
    if not task.bundle_path.exists():
        say(f"making the bundle of {recipe.name} in {folder} (once)")
        folder.mkdir(parents=True, exist_ok=True)
        graph = recipe.graph(folder)
        windows = np.random.default_rng(0).random((SAMPLES, *recipe.window), np.float32)
        np.savez(folder / "samples.npz", x=windows)
        cut = recipe.cut if recipe.cut is not None else best_cut(recipe, graph)
        _split(recipe, graph, folder / "made.bundle", str(cut))
        (folder / "made.bundle").rename(task.bundle_path)
    return task


def best_cut(recipe: Recipe, graph: Path) -> int:
    """Return the number of the cut between edge and fog that costs a window least."""
    made = _split(recipe, graph, graph.parent / "all.bundle", "auto")
    (graph.parent / "all.bundle").unlink()
    inner = made["points"][1:-1]

    def cost(point: dict[str, Any]) -> float:
        (found,) = (c for c in point["costs"] if c["encoding"] == "float32")
        return sum(found[name] for name in recipe.cost)

    best = min(range(len(inner)), key=lambda i: cost(inner[i]))
    return int(made["cuts"][best]["cut"])


def _split(recipe: Recipe, graph: Path, out: Path, points: str) -> dict[str, Any]:
    command = [BIN / "optimizer", "split", graph, "--out", out, "--points", points, "--json"]
    command += ["--samples", graph.parent / "samples.npz"] if graph.name == "whole.onnx" else []
    command += ["--encodings", "float16", "--name", recipe.name.replace(" ", "-").lower()]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [*command, *recipe.flags], capture_output=True, text=True, env=environment, check=False
    )
    if done.returncode:
        raise RuntimeError(f"optimizer split {graph}: {done.stderr.strip().splitlines()[-1:]}")
    made: dict[str, Any] = json.loads(done.stdout)
    return made


def main() -> None:
    """Make every bundle."""
    for recipe in RECIPES:
        task = make_task(recipe, lambda text: print(text, flush=True))
        print(f"{task.name}: {task.activation_bytes} bytes cross, {task.bundle_path}")


if __name__ == "__main__":
    main()
