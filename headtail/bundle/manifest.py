"""The manifest: everything a bundle says about itself, and the rules it must keep."""

import hashlib
import itertools
import re
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal

import msgspec

from headtail.bundle.profiles import Profiles
from headtail.operations import Operations
from headtail.tensor import TensorSpec
from headtail.wire import STORED_RANGES, Affine, Encoding, can_carry

FORMAT_VERSION = 4
"""The newest; 2 brought the encoding int4, 3 profiles and 4 the accuracy floor: a bundle is written
as the oldest that holds what it has."""
FormatVersion = Literal[1, 2, 3, 4]
PROFILES_VERSION: Literal[3] = 3
FLOOR_VERSION: Literal[4] = 4
# Limits on what a manifest may claim, so that a foreign one cannot exhaust its reader.
MAX_MANIFEST_BYTES = 8 << 20
MAX_SEGMENTS = 512
MAX_MEMBER_BYTES = 2 << 30
MAX_BUNDLE_BYTES = 4 << 30
MAX_SAMPLES_BYTES = 1 << 20
MAX_SAMPLES = 8

NAME_PATTERN = r"^[a-z0-9][a-z0-9_]*(-[a-z0-9_]+)*$"
VERSION_PATTERN = r"^[0-9]{1,9}(\.[0-9]{1,9}){0,3}$"

Name = Annotated[str, msgspec.Meta(pattern=NAME_PATTERN, max_length=64)]
Version = Annotated[str, msgspec.Meta(pattern=VERSION_PATTERN)]
Digest = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
Count = Annotated[int, msgspec.Meta(ge=0)]
Amount = Annotated[float, msgspec.Meta(ge=0)]


class _Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A part of the manifest: immutable, unknown keys refused."""


class Member(_Record, frozen=True):
    """A file of the bundle other than the manifest and the signature."""

    path: str
    sha256: Digest
    bytes: Count


class Step(_Record, frozen=True):
    """One named preprocess step with its parameters, as `headtail.preprocess` knows it."""

    name: str
    parameters: dict[str, Any] = {}


class Segment(_Record, frozen=True):
    """One ONNX graph covering the layers between two neighbouring partition points.

    It takes its inputs by name from what the model's inputs and the earlier segments left, so a
    tensor that skips over a segment is not copied through it.
    """

    member: Member
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    operations: Operations


class WireEncoding(_Record, frozen=True):
    """One way the activation of a point may travel."""

    encoding: Encoding
    bytes: Count
    """Payload of one window: the tensors' bytes, without framing."""
    affine: dict[str, Affine] = {}
    """Quantisation per tensor name; for int8 and int4 only, and for float32 tensors only."""
    accuracy: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    """Share of right labels with this encoding, on labelled windows that may decide (a run's
    validation split, never its test split); None where there were none."""
    largest_error: Amount = 0.0
    """Largest output error on the samples against float32, relative to the largest output."""


class Cost(_Record, frozen=True):
    """What one window costs at one point with one encoding, on one device and link profile."""

    device_profile: str
    link_profile: str
    mode: Literal["paper", "packet"]
    encoding: Encoding
    head_s: Amount | None
    """Predicted time of the head; None where the device profile has no speeds."""
    head_j: Amount
    tx_s: Amount
    tx_j: Amount

    @property
    def edge_j(self) -> float:
        """Modelled edge energy of one window: compute and transmission."""
        return self.head_j + self.tx_j


class Point(_Record, frozen=True):
    """Partition point k: segments [0, k) on the edge, [k, n) in the fog."""

    index: Count
    activation: tuple[TensorSpec, ...]
    """Tensors that cross; at 0 the model's inputs, at n its outputs."""
    encodings: tuple[WireEncoding, ...]
    flash_bytes: Count
    """Parameters of the head, at 4 bytes each."""
    ram_bytes: Count
    """Largest sum of tensors alive at once while the head runs on one window."""
    costs: tuple[Cost, ...] = ()

    def wire(self, encoding: Encoding) -> WireEncoding | None:
        """Return the record of `encoding`, or None where the point does not offer it."""
        return next((e for e in self.encodings if e.encoding is encoding), None)


class Metric(_Record, frozen=True):
    """A figure of merit with the protocol and split it was measured on."""

    name: str
    value: float
    protocol: str
    split: str


class Lineage(_Record, frozen=True):
    """Where a bundle comes from; the same lineage gives the same digest."""

    recipe: dict[str, Any]
    data: dict[str, Any]
    is_synthetic: bool
    seed: Count
    packages: dict[str, str]
    profiles: dict[str, str] = {}
    """SHA-256 of each profile used, by name."""
    parent: Digest | None = None


class Manifest(_Record, frozen=True, omit_defaults=True):
    """What a bundle says about itself; its SHA-256 in canonical form is the bundle's digest."""

    format_version: FormatVersion
    name: Name
    version: Version
    task: str
    labels: tuple[str, ...]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    preprocess: tuple[Step, ...]
    segments: tuple[Segment, ...]
    points: tuple[Point, ...]
    default_point: Count
    default_encoding: Encoding
    samples: Member
    report: Member
    metrics: tuple[Metric, ...]
    lineage: Lineage
    profiles: Profiles | None = None
    """Those of the costs that headtail does not have by their name; None in formats before 3."""
    accuracy_floor: Annotated[float, msgspec.Meta(gt=0, le=1)] | None = None
    """Least accuracy of an encoding that an agent may pick; None in formats before 4."""

    def __post_init__(self) -> None:
        _require(
            self.profiles is None or self.format_version >= PROFILES_VERSION,
            f"profiles are not of format version {self.format_version}",
        )
        _require(
            self.accuracy_floor is None or self.format_version >= FLOOR_VERSION,
            f"accuracy_floor is not of format version {self.format_version}",
        )
        _check_members(self)
        _check_chain(self)
        _check_points(self)

    @property
    def is_batchable(self) -> bool:
        """Whether several windows may run as one batch."""
        crossing = itertools.chain(
            self.inputs, self.outputs, *(s.inputs + s.outputs for s in self.segments)
        )
        return all(spec.is_batchable for spec in crossing)

    @property
    def members(self) -> tuple[Member, ...]:
        """Every member but the manifest and the signature, in file order."""
        return (*(s.member for s in self.segments), self.samples, self.report)

    def tail_name(self, point: int, encoding: Encoding) -> str:
        """Return the name under which the fog serves the tail: `mitbih-tail2-int8`."""
        return f"{self.name}-tail{point}-{encoding.value}"


def canonical(manifest: Manifest) -> bytes:
    """Return the one byte string that stands for `manifest`."""
    return msgspec.json.encode(manifest, order="sorted")


def digest(manifest: Manifest) -> str:
    """Return the bundle's identity: the SHA-256 of its canonical manifest, in hexadecimal."""
    return hashlib.sha256(canonical(manifest)).hexdigest()


def least_format(
    points: Iterable[Point], profiles: Profiles | None = None, accuracy_floor: float | None = None
) -> FormatVersion:
    """Return the oldest format version that can hold these, so that older readers take it."""
    if accuracy_floor is not None:
        return FLOOR_VERSION
    if profiles is not None:
        return PROFILES_VERSION
    return _least_format(itertools.chain.from_iterable(p.encodings for p in points))


def version_key(version: str) -> tuple[int, ...]:
    """Return a key that sorts versions by their numbers: 1.9 before 1.10."""
    return tuple(int(part) for part in version.split("."))


def crossing_specs(
    segments: Sequence[Segment],
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    point: int,
) -> tuple[TensorSpec, ...]:
    """Return the tensors that cross partition point `point`, in the order they were made.

    They are what the segments from `point` on and the model's outputs need from before it.
    """
    made = {s.name: s for s in itertools.chain(inputs, *(g.outputs for g in segments[:point]))}
    wanted = {s.name for s in itertools.chain(outputs, *(g.inputs for g in segments[point:]))}
    return tuple(spec for name, spec in made.items() if name in wanted)


def _check_members(manifest: Manifest) -> None:
    _require(1 <= len(manifest.segments) <= MAX_SEGMENTS, f"1 to {MAX_SEGMENTS} segments expected")
    expected = [f"segments/{i}.onnx" for i in range(len(manifest.segments))]
    paths = [m.path for m in manifest.members]
    _require(
        paths == [*expected, "samples.npz", "report.json"], f"member paths are not ours: {paths}"
    )
    sizes = [m.bytes for m in manifest.members]
    _require(max(sizes) <= MAX_MEMBER_BYTES, f"a member is over {MAX_MEMBER_BYTES} bytes")
    _require(sum(sizes) <= MAX_BUNDLE_BYTES, f"the members are over {MAX_BUNDLE_BYTES} bytes")
    _require(manifest.samples.bytes <= MAX_SAMPLES_BYTES, "samples.npz is over 1 MiB")


def _check_chain(manifest: Manifest) -> None:
    _require(bool(manifest.inputs and manifest.outputs), "inputs and outputs must not be empty")
    made = _by_name(manifest.inputs)
    for i, segment in enumerate(manifest.segments):
        for spec in segment.inputs:
            _require(made.get(spec.name) == spec, f"segment {i} input '{spec.name}' is never made")
        fresh = _by_name(segment.outputs)
        _require(not made.keys() & fresh.keys(), f"segment {i} makes a tensor a second time")
        made |= fresh
    for spec in manifest.outputs:
        _require(made.get(spec.name) == spec, f"output '{spec.name}' is never made")


def _check_points(manifest: Manifest) -> None:
    count = len(manifest.segments)
    indices = [p.index for p in manifest.points]
    _require(indices == list(range(count + 1)), f"points must be 0 to {count}, are {indices}")
    _require(manifest.default_point <= count, f"default_point must be at most {count}")
    default = manifest.points[manifest.default_point]
    _require(
        default.wire(manifest.default_encoding) is not None,
        f"point {default.index} does not offer default_encoding {manifest.default_encoding.value}",
    )
    for point in manifest.points:
        expected = crossing_specs(manifest.segments, manifest.inputs, manifest.outputs, point.index)
        _require(
            point.activation == expected, f"point {point.index}: activation is not what crosses"
        )
        names = [e.encoding for e in point.encodings]
        _require(len(names) == len(set(names)), f"point {point.index}: an encoding comes twice")
        _require(Encoding.FLOAT32 in names, f"point {point.index}: float32 must be offered")
        for wire in point.encodings:
            _check_wire(wire, point, manifest.format_version)


def _check_wire(wire: WireEncoding, point: Point, format_version: int) -> None:
    encoding, where = wire.encoding, f"point {point.index}: {wire.encoding.value}"
    known = format_version >= _least_format([wire])
    _require(known, f"{where} is not of format version {format_version}")
    _require(can_carry(encoding, point.activation), f"{where} cannot carry {point.activation}")
    floats = {s.name for s in point.activation if s.dtype == "float32"}
    needed = floats if encoding in STORED_RANGES else set()
    _require(wire.affine.keys() == needed, f"{where} must have an affine for {needed}")
    for name, affine in wire.affine.items():
        least, largest = STORED_RANGES[encoding]
        _require(
            least <= affine.zero_point <= largest,
            f"{where} '{name}': zero_point must be {least} to {largest}, is {affine.zero_point}",
        )


def _least_format(wires: Iterable[WireEncoding]) -> FormatVersion:
    return 2 if any(wire.encoding is Encoding.INT4 for wire in wires) else 1


def _by_name(specs: Iterable[TensorSpec]) -> dict[str, TensorSpec]:
    specs = tuple(specs)
    named = {s.name: s for s in specs}
    _require(len(named) == len(specs), f"a tensor name comes twice: {[s.name for s in specs]}")
    return named


def _require(condition: bool, reason: str) -> None:
    if not condition:
        raise ValueError(reason)


def is_name(text: str) -> bool:
    """Return whether `text` may be a bundle's name."""
    return len(text) <= 64 and re.match(NAME_PATTERN, text) is not None
