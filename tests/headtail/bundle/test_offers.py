"""Tests of the accuracy floor: what agents may pick, and that bundles without one stay the same."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from headtail.bundle import Manifest, read_bundle
from headtail.bundle.archive import decode_manifest
from headtail.bundle.keys import Trust
from headtail.bundle.manifest import Member, WireEncoding, canonical, digest, least_format
from headtail.bundle.offers import Offered, offered, offered_encodings
from headtail.wire import Encoding

FLOAT32, FLOAT16, INT8, INT4 = Encoding


@pytest.fixture
def manifest(tmp_path: Path, write_test_bundle: Callable[..., Path], trust: Trust) -> Manifest:
    """Return the manifest of the three-segment chain, which has measured no accuracy."""
    return read_bundle(write_test_bundle(tmp_path), trust).manifest


def floored(manifest: Manifest, floor: float | None, accuracy: dict[Encoding, float]) -> Manifest:
    """Return it with a floor, every point's encodings being as accurate as `accuracy` says."""

    def measured(wire: WireEncoding) -> WireEncoding:
        return msgspec.structs.replace(wire, accuracy=accuracy.get(wire.encoding))

    points = tuple(
        msgspec.structs.replace(p, encodings=tuple(measured(e) for e in p.encodings))
        for p in manifest.points
    )
    return msgspec.structs.replace(manifest, format_version=4, points=points, accuracy_floor=floor)


def test_without_a_floor_everything_is_offered(manifest: Manifest) -> None:
    expected = tuple(Offered(k, e) for k in range(4) for e in Encoding)
    assert expected == offered(manifest)


def test_what_is_below_the_floor_or_unknown_is_not_offered(manifest: Manifest) -> None:
    """At the floor is not below it, and what nobody measured may be anything."""
    accurate = floored(manifest, 0.9, {FLOAT32: 0.95, FLOAT16: 0.9, INT8: 0.8999})
    assert tuple(Offered(k, e) for k in range(4) for e in (FLOAT32, FLOAT16)) == offered(accurate)
    assert (FLOAT32, FLOAT16) == offered_encodings(accurate, accurate.points[2])


def test_float32_is_offered_even_below_the_floor(manifest: Manifest) -> None:
    """A device has to run something; what the model itself gives is the recipe's business."""
    poor = floored(manifest, 0.99, dict.fromkeys(Encoding, 0.5))
    assert tuple(Offered(k, FLOAT32) for k in range(4)) == offered(poor)


def test_a_floor_makes_a_bundle_of_format_4_and_comes_back(manifest: Manifest) -> None:
    floor = floored(manifest, 0.9, {})
    assert (0.9, floor) == (
        decode_manifest(canonical(floor), "here").accuracy_floor,
        decode_manifest(canonical(floor), "here"),
    )
    assert (2, 4) == (
        least_format(manifest.points),
        least_format(manifest.points, accuracy_floor=0.9),
    )
    with pytest.raises(ValueError, match="accuracy_floor is not of format version 3"):
        msgspec.structs.replace(floor, format_version=3)


@pytest.mark.parametrize("floor", [0.0, 1.01, -1.0, "0.9"])
def test_a_floor_is_an_accuracy(manifest: Manifest, floor: object) -> None:
    raw = msgspec.json.decode(canonical(manifest)) | {"format_version": 4, "accuracy_floor": floor}
    with pytest.raises(msgspec.ValidationError, match="accuracy_floor"):
        msgspec.json.decode(msgspec.json.encode(raw), type=Manifest)


def test_the_digest_of_a_bundle_without_a_floor_is_what_it_was(manifest: Manifest) -> None:
    """Of the committed graphs with exact encodings, as the format before the floor gave it."""
    exact = tuple(msgspec.structs.replace(p, encodings=p.encodings[:2]) for p in manifest.points)
    fixed = msgspec.structs.replace(
        manifest,
        format_version=1,
        points=exact,
        samples=Member("samples.npz", "0" * 64, 1),
    )
    assert b"accuracy_floor" not in canonical(fixed)
    assert "46a08dc7e0f5d563bf7bddbc7fec13c20dd96144a380534712af1b8301cd416d" == digest(fixed)
