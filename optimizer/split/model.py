"""Taking a finished model apart: read, cut, verify, measure, choose, pack."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from headtail.bundle.keys import read_signer
from headtail.bundle.manifest import VERSION_PATTERN, Lineage, Metric, is_name
from headtail.errors import ConfigError, ExportError
from headtail.profile import profile_digest, read_device_profile, read_link_profile
from headtail.segment import Tensors
from headtail.wire import STORED_RANGES, USUAL_ENCODINGS, Encoding
from optimizer.cut.cut import Cut, Selection, cut_model, legal_cuts, select_cuts
from optimizer.cut.graph import Graph, read_graph
from optimizer.package.cuts import CutCost, measure_cuts
from optimizer.package.package import Description, Offer, Packed, Verified, pack, package_versions
from optimizer.package.points import Profiles, Windows, build_points
from optimizer.partition import Bounds, Objective, choose, with_floor, within_device
from optimizer.progress import Reporter
from optimizer.split.samples import SplitData, read_labels, read_samples
from optimizer.verify import Reference, before_softmax, onnx_reference, verify

NO_BOUNDS = Bounds()
SEED = 0  # of the random windows; a constant, so that a model has one digest


@dataclass(frozen=True, slots=True)
class SplitRequest:
    """What `optimizer split` was asked for."""

    model: Path
    out: Path
    name: str | None = None
    """Bundle name; None takes it from the model's file."""
    version: str = "1"
    points: Selection = "auto"
    devices: tuple[str, ...] = ("raspberry-pi-4",)
    links: tuple[str, ...] = ("ethernet",)
    bounds: Bounds = NO_BOUNDS
    objective: Objective = "edge_energy"
    encodings: tuple[Encoding, ...] | None = None
    """Wire encodings to offer beside float32; None offers the usual ones that can be measured."""
    accuracy_floor: float | None = None
    """Least accuracy of an encoding that an agent may pick; needs labelled samples."""
    samples: Path | None = None
    labels: Path | None = None
    key: Path | None = None


@dataclass(frozen=True, slots=True)
class SplitResult:
    """A bundle made from a finished model."""

    packed: Packed
    cuts: tuple[Cut, ...]
    """The cuts offered, of `legal` in all."""
    legal: int
    error: float
    """Largest error found by the verification, relative to the largest output."""
    windows: str
    """What it was verified on."""
    costs: tuple[CutCost, ...]
    """What head and tail at each point take here, against the whole model."""


@dataclass(frozen=True, slots=True)
class Source:
    """A model as a graph, and the way to run the original."""

    graph: Graph
    reference: Reference
    kind: str
    """Whose runtime the original runs in: "keras" or "onnx"."""
    sha256: str
    packages: tuple[str, ...]


def split_model(request: SplitRequest, reporter: Reporter) -> SplitResult:
    """Make a bundle of a finished model.

    Raises:
        HeadtailError: One line on what is wrong with the model, a file or a bound; nothing is left
            behind at `request.out` then.
    """
    name = _checked_name(request)
    _check_encodings(request)
    signer = read_signer(request.key)
    profiles = Profiles(
        tuple(read_device_profile(d) for d in request.devices),
        tuple(read_link_profile(n) for n in request.links),
    )
    with reporter.stage("read the model"):
        source = read_source(request.model)
    graph = source.graph
    data = read_samples(request.samples, graph, np.random.default_rng(SEED))
    labels = read_labels(request.labels, graph)
    if request.accuracy_floor is not None and data.labels is None:
        raise ConfigError("--accuracy-floor", "needs --samples with labels `y` to measure it on")
    with reporter.stage("cut"):
        legal = legal_cuts(graph)
        cuts = select_cuts(legal, request.points)
        model = cut_model(graph, cuts)
    with reporter.stage("verify"):
        error = verify(model, source.reference, data.windows, before_softmax(graph))
    with reporter.stage("measure the encodings"):
        windows = _windows(data)
        points = build_points(model, windows, profiles, request.encodings or USUAL_ENCODINGS)
    choice = choose(
        points,
        within_device(with_floor(request.bounds, request.accuracy_floor), profiles.devices[0]),
        request.objective,
        profiles.devices[0].name,
        profiles.links[0].name,
    )
    with reporter.stage("write and test the bundle"):
        description = Description(
            name=name,
            version=request.version,
            task="classification" if labels or data.labels is not None else "inference",
            labels=labels,
            preprocess=(),
            metrics=_metrics(data, points[0].encodings[0].accuracy),
            lineage=_lineage(request, source, data, profiles),
            verified=Verified(len(next(iter(data.windows.values()))), data.source, source.kind),
        )
        offer = Offer(points, choice.point, choice.encoding, profiles, request.accuracy_floor)
        packed = pack(request.out, model, offer, description, windows.samples, signer)
    with reporter.stage("time the cuts"):
        costs = measure_cuts(request.out, signer, graph)
    return SplitResult(packed, cuts, len(legal), error, data.source, costs)


def read_source(path: Path) -> Source:
    """Read an .onnx or a .keras file.

    Raises:
        ExportError: If it is neither, cannot be read, or cannot be exported.
    """
    if path.suffix == ".keras":
        from optimizer.split.keras import read_keras

        content, reference = read_keras(path)
        graph = read_graph(content)
        packages = ("keras", "onnx", "onnxruntime", "tensorflow", "tf2onnx")
        return Source(graph, reference(graph), "keras", _digest(path), packages)
    if path.suffix != ".onnx":
        raise ExportError(str(path), "expected a .onnx or .keras file")
    graph = read_graph(path)
    return Source(graph, onnx_reference(graph), "onnx", _digest(path), ("onnx", "onnxruntime"))


def _windows(data: SplitData) -> Windows:
    first = data.own if data.own is not None else data.windows
    samples: Tensors = {n: a[:8] for n, a in first.items()}
    labelled = data.own if data.labels is not None else None
    return Windows(samples, data.calibration, labelled, data.labels)


def _metrics(data: SplitData, accuracy: float | None) -> tuple[Metric, ...]:
    if accuracy is None:
        return ()
    return (Metric("accuracy", accuracy, "given", str(data.fingerprint["name"])),)


def _lineage(request: SplitRequest, source: Source, data: SplitData, profiles: Profiles) -> Lineage:
    recipe: dict[str, Any] = {
        "command": "split",
        "model": request.model.name,
        "model_sha256": source.sha256,
        "points": request.points if isinstance(request.points, str) else list(request.points),
        "objective": request.objective,
        "bounds": {k: v for k, v in msgspec.to_builtins(request.bounds).items() if v is not None},
    }
    if request.encodings is not None:
        recipe["encodings"] = list(request.encodings)
    if request.accuracy_floor is not None:
        recipe["accuracy_floor"] = request.accuracy_floor
    return Lineage(
        recipe=recipe,
        data=data.fingerprint,
        is_synthetic=False,
        seed=SEED,
        packages=package_versions(source.packages),
        profiles={d.name: profile_digest(d) for d in profiles.devices}
        | {link.name: profile_digest(link) for link in profiles.links},
    )


def _check_encodings(request: SplitRequest) -> None:
    """Refuse early what could not be offered at all."""
    ranged = [e.value for e in request.encodings or () if e in STORED_RANGES]
    if ranged and request.samples is None:
        raise ConfigError("--encodings", f"{', '.join(ranged)} need --samples to learn ranges from")


def _checked_name(request: SplitRequest) -> str:
    """Return the bundle's name; a name or version that no bundle may have is refused early."""
    if not re.fullmatch(VERSION_PATTERN, request.version):
        raise ConfigError("--version", f"expected numbers and dots, received '{request.version}'")
    made = re.sub(r"[^a-z0-9_]+", "-", request.model.stem.lower()).strip("-_")[:64].strip("-_")
    name = made if request.name is None else request.name
    if not is_name(name):
        raise ConfigError(
            "--name", f"expected lower-case words, digits and dashes, received '{name}'"
        )
    return name


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
