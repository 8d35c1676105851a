"""Tests of the manifest's rules."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from headtail.bundle import Manifest, read_bundle
from headtail.bundle.keys import Trust
from headtail.bundle.manifest import canonical, crossing_specs, digest, is_name, version_key
from headtail.tensor import TensorSpec
from headtail.wire import Encoding

WriteBundle = Callable[..., Path]


@pytest.fixture
def manifest(tmp_path: Path, write_test_bundle: WriteBundle, trust: Trust) -> Manifest:
    """Return the manifest of the three-segment chain."""
    return read_bundle(write_test_bundle(tmp_path), trust).manifest


def edited(manifest: Manifest, path: tuple[str | int, ...], value: object) -> bytes:
    """Return the manifest's JSON with one place changed; None takes the place out."""
    raw = msgspec.json.decode(canonical(manifest))
    place = raw
    for step in path[:-1]:
        place = place[step]
    if value is None:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return msgspec.json.encode(raw)


def test_canonical_form_is_a_fixed_point(manifest: Manifest) -> None:
    """Decoding and encoding again gives the same bytes, so the digest is the content's."""
    again = msgspec.json.decode(canonical(manifest), type=Manifest)
    assert manifest == again
    assert canonical(manifest) == canonical(again)


def test_any_change_changes_the_digest(manifest: Manifest) -> None:
    other = msgspec.structs.replace(manifest, version="1.0.1")
    assert digest(manifest) != digest(other)


def test_two_tensors_cross_where_one_skips_a_segment(manifest: Manifest) -> None:
    """Point 2 needs `a` from segment 0 as well as `b` from segment 1."""
    names = [[s.name for s in p.activation] for p in manifest.points]
    assert [["x"], ["a"], ["a", "b"], ["y"]] == names


def test_the_tail_s_name_is_that_of_the_wire(manifest: Manifest) -> None:
    assert manifest.tail_name(2, Encoding.INT8) == "chain-tail2-int8"


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("surprise",), 1, "unknown field `surprise`"),
        (("name",), "Ünïcode", "matching regex"),
        (("name",), "../evil", "matching regex"),
        (("version",), "1.0-rc1", "matching regex"),
        (("segments", 0, "member", "path"), "segments/9.onnx", "member paths are not ours"),
        (("segments", 0, "member", "sha256"), "00", "matching regex"),
        (("segments", 0, "member", "bytes"), 5 << 30, "a member is over"),
        (("segments", 0, "member", "bytes"), -1, "Expected `int` >= 0"),
        (("samples", "bytes"), 2 << 20, "samples.npz is over"),
        (("segments", 1, "inputs", 0, "name"), "ghost", "input 'ghost' is never made"),
        (("segments", 1, "inputs", 0, "shape"), [-1, 5], "input 'a' is never made"),
        (("segments", 1, "outputs", 0, "name"), "a", "makes a tensor a second time"),
        (("outputs", 0, "name"), "ghost", "output 'ghost' is never made"),
        (("inputs",), [], "must not be empty"),
        (("default_point",), 9, "default_point must be at most 3"),
        (("default_encoding",), "int2", "Invalid enum value"),
        (("points", 3), None, "points must be 0 to 3"),
        (("points", 1, "activation", 0, "shape"), [-1, 9, 9], "activation is not what crosses"),
        (("points", 1, "encodings", 0), None, "default_encoding float32|float32 must be offered"),
        (("points", 2, "encodings", 2, "affine", "a"), None, "int8 must have an affine"),
        (("points", 2, "encodings", 0, "affine"), {"a": {"scale": 1.0, "zero_point": 0}}, "affine"),
        (("points", 2, "encodings", 2, "affine", "a", "scale"), 0.0, "scale must be positive"),
        (("points", 2, "encodings", 2, "encoding"), "float16", "comes twice|affine"),
        (("format_version",), 1, "point 0: int4 is not of format version 1"),
        (("points", 2, "encodings", 3, "affine", "b"), None, "int4 must have an affine"),
        (("points", 2, "encodings", 3, "affine", "b", "zero_point"), 8, "must be -8 to 7, is 8"),
    ],
)
def test_a_broken_rule_is_named(
    manifest: Manifest, path: tuple[str | int, ...], value: object, message: str
) -> None:
    """Each rule has its own words."""
    with pytest.raises(msgspec.ValidationError, match=message):
        msgspec.json.decode(edited(manifest, path, value), type=Manifest)


def test_int4_of_windows_of_any_size_is_refused(manifest: Manifest) -> None:
    """Nobody could say how many values a packed window holds."""
    spec = TensorSpec("a", "float32", (-1, -1, 8))
    (first, second, third), points = manifest.segments, list(manifest.points)
    points[1] = msgspec.structs.replace(points[1], activation=(spec,))
    points[2] = msgspec.structs.replace(points[2], activation=(spec, *points[2].activation[1:]))
    with pytest.raises(ValueError, match="point 1: int4 cannot carry"):
        msgspec.structs.replace(
            manifest,
            segments=(
                msgspec.structs.replace(first, outputs=(spec,)),
                msgspec.structs.replace(second, inputs=(spec,)),
                msgspec.structs.replace(third, inputs=(spec, *third.inputs[1:])),
            ),
            points=tuple(points),
        )


def test_crossing_tensors_at_the_ends_are_the_model_s_own(manifest: Manifest) -> None:
    count = len(manifest.segments)
    for point, expected in ((0, manifest.inputs), (count, manifest.outputs)):
        found = crossing_specs(manifest.segments, manifest.inputs, manifest.outputs, point)
        assert expected == found


def test_a_model_is_batchable_only_if_every_crossing_tensor_is(manifest: Manifest) -> None:
    assert manifest.is_batchable
    fixed = TensorSpec("x", "float32", (1, 16, 2))
    segment = msgspec.structs.replace(manifest.segments[0], inputs=(fixed,))
    point = msgspec.structs.replace(manifest.points[0], activation=(fixed,))
    other = msgspec.structs.replace(
        manifest,
        inputs=(fixed,),
        segments=(segment, *manifest.segments[1:]),
        points=(point, *manifest.points[1:]),
    )
    assert not other.is_batchable


def test_versions_sort_by_their_numbers() -> None:
    assert sorted(["1.10", "1.9", "2", "1.9.1"], key=version_key) == ["1.9", "1.9.1", "1.10", "2"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mitbih", True),
        ("a-b_1", True),
        ("", False),
        ("-a", False),
        ("A", False),
        ("a" * 65, False),
    ],
)
def test_names_are_safe_in_paths_and_urls(text: str, expected: bool) -> None:
    assert expected is is_name(text)
