"""What every chaos program needs: a bundle, windows with the whole model's answers, our programs.

The bundle is the tests' own small one (`tests/conftest.py`), signed with a key made for the run;
the models are those of `tests/testdata`. Everything listens on loopback only.
"""

import importlib.util
import json
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "deploy")]

from headtail.bundle.archive import write_bundle  # noqa: E402
from headtail.bundle.keys import read_signer, write_key_pair  # noqa: E402
from programs import BIN, Program, running  # noqa: E402 - lies beside the demo, in no package

__all__ = ["BIN"]  # re-exported: only here is the path set
WINDOW = (16, 2)
POINT, LAST_POINT = 1, 3
LARGEST_ERROR = 1e-5
"""Of the largest output: segments and the whole graph may round differently in the last bit."""


@dataclass(frozen=True, slots=True)
class Scene:
    """A folder with all a run needs."""

    folder: Path
    bundle: Path
    trust: Path
    windows: NDArray[np.float32]
    """Shape (N, 16, 2)."""
    expected: NDArray[np.float32]
    """What the uncut model says of them, shape (N, 3)."""

    def npz(self) -> Path:
        """Write the windows as a source and return the file."""
        path = self.folder / "windows.npz"
        np.savez(path, x=self.windows)
        return path

    def line(self, index: int) -> bytes:
        """Return one window as a line for an agent's standard input."""
        return json.dumps(self.windows[index].tolist()).encode() + b"\n"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a sink holds against what it should."""

    lines: int
    missing: int
    repeated: int
    torn: int
    """Lines that are no whole result."""
    wrong: int
    """Results that are not the whole model's."""
    fog: int
    """Answered by the fog."""

    @property
    def is_good(self) -> bool:
        """Whether every sequence is there exactly once and right."""
        return self.lines > 0 and not (self.missing or self.repeated or self.torn or self.wrong)

    def describe(self) -> str:
        """Return the counts as one line."""
        return (
            f"{self.lines} results ({self.fog} from the fog): {self.missing} missing,"
            f" {self.repeated} repeated, {self.torn} torn, {self.wrong} wrong"
        )


def make_scene(folder: Path, count: int, seed: int) -> Scene:
    """Write keys and a bundle into `folder`, and draw `count` windows."""
    write_key_pair(folder / "chaos.key", folder / "trust" / "chaos.pub")
    manifest, members = _conftest().build_bundle("chain", "chain", "1.0.0", corrupt=False)
    bundle = folder / "bundles" / "chain-1.0.0.bundle"
    write_bundle(bundle, manifest, members, read_signer(folder / "chaos.key"))
    windows = np.random.default_rng(seed).standard_normal((count, *WINDOW)).astype(np.float32)
    path = ROOT / "tests" / "testdata" / "chain" / "whole.onnx"
    whole = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    return Scene(folder, bundle, folder / "trust", windows, whole.run(["y"], {"x": windows})[0])


def free_address() -> str:
    """Return a loopback address on which nobody listens now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


@contextmanager
def fog(scene: Scene, address: str, *flags: str | Path) -> Iterator[Program]:
    """Run a fog server on `address` and wait until it serves."""
    command = ["fog-server", "--bundles", scene.bundle.parent, "--trust", scene.trust]
    with running([*command, "--listen", address, *flags], scene.folder / "fog.log") as program:
        program.wait_for(r"serving on (\S+)")
        yield program


def agent_command(scene: Scene, sink: Path, *flags: str | Path) -> list[str | Path]:
    """Return the command of an agent that writes to `sink`, float32 on the wire."""
    command = ["edge-agent", "run", "--bundle", scene.bundle, "--trust", scene.trust]
    named = ["--sink", f"jsonl:{sink}", "--state", scene.folder / "state"]
    return [*command, *named, "--encoding", "float32", *flags]


def judge(scene: Scene, sink: Path, count: int | None = None) -> Verdict:
    """Compare a sink with the first `count` windows of the scene, by default all of them."""
    expected = scene.expected[: len(scene.expected) if count is None else count]
    limit = LARGEST_ERROR * float(np.abs(scene.expected).max())
    seen = np.zeros(len(expected), np.int64)
    lines = sink.read_bytes().splitlines() if sink.exists() else []
    torn = wrong = from_fog = 0
    for line in lines:
        try:
            result = json.loads(line)
            sequence, output = int(result["sequence"]), np.array(result["output"], np.float32)
        except (ValueError, KeyError, TypeError):
            torn += 1
            continue
        from_fog += result["where"] == "fog"
        if not 0 <= sequence < len(expected) or output.shape != expected[sequence].shape:
            wrong += 1
            continue
        seen[sequence] += 1
        wrong += not np.abs(output - expected[sequence]).max() <= limit
    missing, repeated = int((seen == 0).sum()), int(np.maximum(seen - 1, 0).sum())
    return Verdict(len(lines), missing, repeated, torn, wrong, from_fog)


def _conftest():
    """Return the tests' own `conftest.py`, which knows how a test bundle is made."""
    spec = importlib.util.spec_from_file_location("bundles", ROOT / "tests" / "conftest.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
