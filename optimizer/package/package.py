"""From a verified chain of segments to the signed bundle."""

import importlib.metadata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from headtail.bundle import Manifest, read_bundle, write_bundle
from headtail.bundle.archive import describe_member, encode_samples
from headtail.bundle.keys import Signer, Trust, key_id
from headtail.bundle.manifest import (
    Lineage,
    Metric,
    Point,
    Step,
    least_format,
)
from headtail.bundle.profiles import not_shipped
from headtail.errors import ExportError
from headtail.segment import Chain
from headtail.tensor import Array
from headtail.wire import Encoding
from optimizer.cut.cut import CutModel
from optimizer.package.points import Profiles, segment_records
from optimizer.package.samples import build_samples
from optimizer.verify import TOLERANCE


@dataclass(frozen=True, slots=True)
class Verified:
    """On what the segments were held against the model."""

    windows: int
    source: str
    """Where the windows come from: a data set and split, a file, or "random"."""
    reference: str
    """What they were held against: "keras" or "onnx"."""
    tolerance: float = TOLERANCE


@dataclass(frozen=True, slots=True)
class Description:
    """What a bundle says of itself beyond its graphs."""

    name: str
    version: str
    task: str
    labels: tuple[str, ...]
    preprocess: tuple[Step, ...]
    metrics: tuple[Metric, ...]
    lineage: Lineage
    verified: Verified


@dataclass(frozen=True, slots=True)
class Offer:
    """The partition points of a bundle and which of them it starts with."""

    points: tuple[Point, ...]
    default_point: int
    default_encoding: Encoding
    profiles: Profiles | None = None
    """What the points were priced with; those that no device has by name go into the bundle."""
    accuracy_floor: float | None = None
    """Least accuracy of an encoding that an agent may pick."""


@dataclass(frozen=True, slots=True)
class Packed:
    """A bundle that was written, read back and self-tested."""

    digest: str
    manifest: Manifest
    size_bytes: int


def pack(
    path: Path,
    model: CutModel,
    offer: Offer,
    description: Description,
    samples: Mapping[str, Array],
    signer: Signer,
) -> Packed:
    """Write a bundle, then read and self-test it as a runtime would.

    Args:
        path: The file; an existing one is replaced, and only by a bundle that works.
        model: What was cut, verified.
        offer: Points from `package_points.build_points`, the default from `partition.choose`.
        description: Name, task, labels, lineage, what was verified.
        samples: Windows to take the bundle's samples from, at least one, by input name.
        signer: Who vouches for it.

    Raises:
        ExportError: If the samples do not fit, or what a bundle may hold is exceeded.
        BundleError: If the written file does not pass its own checks.
    """
    chosen = build_samples(model, samples)
    contents = {f"segments/{i}.onnx": s.content for i, s in enumerate(model.segments)}
    contents["samples.npz"] = encode_samples(chosen)
    contents["report.json"] = build_report(description, offer)
    members = {p: describe_member(p, c) for p, c in contents.items()}
    priced = offer.profiles
    try:
        own = None if priced is None else not_shipped(priced.devices, priced.links)
        manifest = Manifest(
            format_version=least_format(offer.points, own, offer.accuracy_floor),
            name=description.name,
            version=description.version,
            task=description.task,
            labels=description.labels,
            inputs=model.inputs,
            outputs=model.outputs,
            preprocess=description.preprocess,
            segments=segment_records(model),
            points=offer.points,
            default_point=offer.default_point,
            default_encoding=offer.default_encoding,
            samples=members["samples.npz"],
            report=members["report.json"],
            metrics=description.metrics,
            lineage=description.lineage,
            profiles=own,
            accuracy_floor=offer.accuracy_floor,
        )
        # Building a struct checks its rules, decoding one its fields' patterns as well.
        manifest = msgspec.convert(msgspec.to_builtins(manifest), Manifest)
    except ValueError as error:
        raise ExportError(f"bundle {path}", str(error)) from error
    return _write_tested(path, manifest, contents, signer)


def build_report(description: Description, offer: Offer) -> bytes:
    """Return `report.json`: a row per point, encoding and pair of profiles, nothing timed."""
    report = {
        "name": description.name,
        "version": description.version,
        "is_synthetic": description.lineage.is_synthetic,
        "verified": msgspec.to_builtins(description.verified),
        "metrics": [msgspec.to_builtins(m) for m in description.metrics],
        "default": {"point": offer.default_point, "encoding": offer.default_encoding.value},
        "rows": [row for point in offer.points for row in _rows(point)],
    }
    if offer.accuracy_floor is not None:
        report["accuracy_floor"] = offer.accuracy_floor
    return msgspec.json.format(msgspec.json.encode(report, order="sorted"), indent=2) + b"\n"


def package_versions(names: Iterable[str]) -> dict[str, str]:
    """Return the installed version of each distribution, for the lineage."""
    return {name: importlib.metadata.version(name) for name in sorted(names)}


def _rows(point: Point) -> Sequence[Mapping[str, Any]]:
    rows = []
    for cost in point.costs:
        wire = point.wire(cost.encoding)
        assert wire is not None, "costs are made from the encodings"
        rows.append(
            {
                "point": point.index,
                "activation": [s.name for s in point.activation],
                "flash_bytes": point.flash_bytes,
                "ram_bytes": point.ram_bytes,
                "tx_bytes": wire.bytes,
                "accuracy": wire.accuracy,
                "largest_error": wire.largest_error,
                "edge_j": cost.edge_j,
                **msgspec.to_builtins(cost),
            }
        )
    return rows


def _write_tested(
    path: Path, manifest: Manifest, contents: Mapping[str, bytes], signer: Signer
) -> Packed:
    """Write beside `path`, test what was written, then put it in place."""
    trial = path.with_name(f".{path.name}.untested")
    try:
        written = write_bundle(trial, manifest, contents, signer)
        trust = Trust({key_id(signer.public): signer.public}, "the signing key")
        bundle = read_bundle(trial, trust)
        Chain(bundle).self_test(bundle)
        trial.replace(path)
    except OSError as error:
        raise ExportError(f"bundle {path}", f"cannot be written: {error.strerror}") from error
    finally:
        trial.unlink(missing_ok=True)
    return Packed(written, manifest, bundle.size_bytes)
