"""Small signed bundles for the tests of every program, made from the graphs in `testdata`."""

import json
import logging
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import settings

from headtail.bundle.archive import Samples, describe_member, encode_samples, write_bundle
from headtail.bundle.keys import Trust, read_signer, read_trust, write_key_pair
from headtail.bundle.manifest import Lineage, Manifest, Point, Segment, WireEncoding, crossing_specs
from headtail.log import JsonFormatter
from headtail.operations import Operations
from headtail.tensor import Array, TensorSpec
from headtail.wire import STORED_RANGES, Encoding, calibrate, wire_specs

# A test that is right on an idle machine is right on a busy one.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

TESTDATA = Path(__file__).parent / "testdata"
SPECS = {
    s.name: s
    for s in (
        TensorSpec("x", "float32", (-1, 16, 2)),
        TensorSpec("a", "float32", (-1, 4, 8)),
        TensorSpec("b", "float32", (-1, 6, 4)),
        TensorSpec("y", "float32", (-1, 3)),
    )
}
FIXED_SPECS = {
    s.name: s
    for s in (
        TensorSpec("x", "float32", (8,)),
        TensorSpec("gain", "int64", (1,)),
        TensorSpec("a", "float32", (6,)),
        TensorSpec("y", "float32", (3,)),
    )
}
SLOW_SPECS = {
    s.name: s
    for s in (
        TensorSpec("x", "float32", (-1, 8)),
        TensorSpec("a", "float32", (-1, 8)),
        TensorSpec("y", "float32", (-1, 3)),
    )
}
# Model -> tensor specs by name, inputs, and per segment what it takes and makes.
MODELS = {
    "chain": (SPECS, ("x",), ((("x",), ("a",)), (("a",), ("b",)), (("a", "b"), ("y",)))),
    "fixed": (FIXED_SPECS, ("x", "gain"), ((("x",), ("a",)), (("a", "gain"), ("y",)))),
    "slow": (SLOW_SPECS, ("x",), ((("x",), ("a",)), (("a",), ("y",)))),
}
WriteBundle = Callable[..., Path]
RealData = Callable[[str], Path]


@pytest.fixture(scope="session")
def real_data() -> RealData:
    """Return what finds real recordings, images and labels by their path in HEADTAIL_DATA.

    They are not in the repository, for their size and their licences: where they do not lie on the
    machine the test is skipped, and says which it needs.
    """

    def find(name: str) -> Path:
        path = Path(os.environ.get("HEADTAIL_DATA", "/nowhere")) / name
        if not path.exists():
            pytest.skip(f"HEADTAIL_DATA has no {name}")
        return path

    return find


@pytest.fixture(autouse=True)
def own_environment() -> Iterator[None]:
    """Take back the variables that a program's `main` sets when a test calls it in this process."""
    before = os.environ.copy()
    yield
    for name in os.environ.keys() - before.keys():
        del os.environ[name]


@pytest.fixture(autouse=True)
def own_log() -> Iterator[None]:
    """Take back what such a `main` sets of the log: handlers, level and hooks."""
    handlers, level, hook = logging.root.handlers[:], logging.root.level, sys.excepthook
    yield
    logging.captureWarnings(False)
    sys.excepthook = hook
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


@pytest.fixture(scope="session")
def key_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with `test.key` and, in `trust`, `test.pub`."""
    folder = tmp_path_factory.mktemp("keys")
    write_key_pair(folder / "test.key", folder / "trust" / "test.pub")
    return folder


@pytest.fixture(scope="session")
def trust(key_folder: Path) -> Trust:
    """Return the trust in the tests' own key."""
    return read_trust(key_folder / "trust")


@pytest.fixture(scope="session")
def model_folder() -> Path:
    """Return the folder of the committed graphs: MODEL/whole.onnx, MODEL/0.onnx, ..."""
    return TESTDATA


@pytest.fixture(scope="session")
def write_test_bundle(key_folder: Path) -> WriteBundle:
    """Return a function that writes a signed bundle and returns its path.

    `model` is "chain" (batchable, points 0 to 3, two tensors cross point 2), "fixed" (no batch
    axis, an int64 input that skips segment 0) or "slow" (a tail of milliseconds). Every point
    offers every encoding. `corrupt` records wrong outputs beside the samples, so that
    the self-test fails.
    """
    signer = read_signer(key_folder / "test.key")

    def write(
        folder: Path,
        model: str = "chain",
        name: str | None = None,
        version: str = "1.0.0",
        corrupt: bool = False,
    ) -> Path:
        manifest, members = build_bundle(model, name or model, version, corrupt)
        path = folder / f"{manifest.name}-{version}.bundle"
        write_bundle(path, manifest, members, signer)
        return path

    return write


def build_bundle(
    model: str, name: str, version: str, corrupt: bool
) -> tuple[Manifest, dict[str, bytes]]:
    """Return a manifest for one of the committed models, and its members by path."""
    specs, inputs, parts = MODELS[model]
    contents = [(TESTDATA / model / f"{i}.onnx").read_bytes() for i in range(len(parts))]
    known = run_parts(contents, sample_inputs(model, np.random.default_rng(7)))
    expected = {"y": known["y"] + np.float32(corrupt)}
    members = {f"segments/{i}.onnx": content for i, content in enumerate(contents)}
    members["samples.npz"] = encode_samples(Samples({n: known[n] for n in inputs}, expected))
    members["report.json"] = b"{}"
    described = {path: describe_member(path, content) for path, content in members.items()}
    segments = tuple(
        Segment(
            described[f"segments/{i}.onnx"],
            tuple(specs[n] for n in taken),
            tuple(specs[n] for n in made),
            Operations(),
        )
        for i, (taken, made) in enumerate(parts)
    )
    ends = tuple(specs[n] for n in inputs), (specs["y"],)
    manifest = Manifest(
        format_version=2,
        name=name,
        version=version,
        task="classification",
        labels=("n", "s", "v"),
        inputs=ends[0],
        outputs=ends[1],
        preprocess=(),
        segments=segments,
        points=tuple(
            point(i, crossing_specs(segments, *ends, i), known) for i in range(len(parts) + 1)
        ),
        default_point=1,
        default_encoding=Encoding.FLOAT32,
        samples=described["samples.npz"],
        report=described["report.json"],
        metrics=(),
        lineage=Lineage(recipe={}, data={}, is_synthetic=True, seed=7, packages={}),
    )
    return manifest, members


def sample_inputs(model: str, rng: np.random.Generator) -> dict[str, Array]:
    """Return four windows of the batchable model, or the one of the other."""
    if model != "fixed":
        shape = (4, 16, 2) if model == "chain" else (4, 8)
        return {"x": rng.standard_normal(shape).astype(np.float32)}
    return {"x": rng.standard_normal(8).astype(np.float32), "gain": np.array([3], np.int64)}


def run_parts(contents: list[bytes], inputs: dict[str, Array]) -> dict[str, Array]:
    """Return every tensor at a segment's border, by name."""
    known = dict(inputs)
    for content in contents:
        session = ort.InferenceSession(content, providers=["CPUExecutionProvider"])
        names = [t.name for t in session.get_outputs()]
        values = session.run(names, {t.name: known[t.name] for t in session.get_inputs()})
        known |= zip(names, values, strict=True)
    return known


def point(index: int, activation: tuple[TensorSpec, ...], known: dict[str, Array]) -> Point:
    """Return the record of a partition point that offers every encoding."""
    floats = [s.name for s in activation if s.dtype == "float32"]
    encodings = tuple(
        WireEncoding(
            encoding=encoding,
            bytes=sum(s.window_bytes for s in wire_specs(activation, encoding)),
            affine={n: calibrate(known[n], encoding) for n in floats if encoding in STORED_RANGES},
        )
        for encoding in Encoding
    )
    return Point(index, activation, encodings, flash_bytes=0, ram_bytes=0)


@pytest.fixture
def lines() -> Iterator[list[dict[str, str]]]:
    """Return what the programs' log says, each line parsed as it is written."""
    found: list[dict[str, str]] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(json.loads(JsonFormatter().format(record)))

    handler = Handler()
    logging.getLogger().addHandler(handler)
    yield found
    logging.getLogger().removeHandler(handler)
