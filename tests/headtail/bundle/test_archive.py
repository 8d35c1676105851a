"""Tests of reading and writing bundles: each broken file gives its own error."""

import io
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headtail.bundle import read_bundle
from headtail.bundle.archive import (
    MANIFEST,
    SIGNATURE,
    Samples,
    decode_manifest,
    describe_member,
    encode_samples,
    write_bundle,
)
from headtail.bundle.keys import Trust, read_signer, read_trust, write_key_pair
from headtail.bundle.manifest import canonical, digest
from headtail.errors import (
    BundleError,
    BundleUnreadable,
    DigestMismatch,
    FormatUnsupported,
    ManifestInvalid,
    SignatureInvalid,
)

WriteBundle = Callable[..., Path]
Members = dict[str, bytes]


@pytest.fixture
def bundle_path(tmp_path: Path, write_test_bundle: WriteBundle) -> Path:
    """Return a good bundle."""
    return write_test_bundle(tmp_path)


def members(path: Path) -> Members:
    """Return every member of a zip file."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def rewrite(path: Path, contents: Members, method: int = zipfile.ZIP_DEFLATED) -> Path:
    """Replace the members of a zip file."""
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return path


def resign(path: Path, contents: Members, key_folder: Path) -> Path:
    """Replace the members and sign the manifest among them with the trusted key."""
    signer = read_signer(key_folder / "test.key")
    return rewrite(path, contents | {SIGNATURE: signer.sign(contents[MANIFEST])})


def test_a_written_bundle_is_read_back(bundle_path: Path, trust: Trust) -> None:
    """Manifest, members and digest survive the file."""
    bundle = read_bundle(bundle_path, trust)
    assert digest(bundle.manifest) == bundle.digest
    assert tuple(members(bundle_path)[s.member.path] for s in bundle.manifest.segments) == (
        bundle.segments
    )
    assert {"x"} == bundle.samples.inputs.keys()
    assert trust.keys.keys() == {bundle.key_id}
    assert bundle_path.stat().st_size == bundle.size_bytes


def test_the_same_contents_give_the_same_bytes(
    tmp_path: Path, write_test_bundle: WriteBundle
) -> None:
    """No clock and no path gets into a bundle (Ed25519 signatures are deterministic)."""
    first = write_test_bundle(tmp_path / "a").read_bytes()
    assert first == write_test_bundle(tmp_path / "b").read_bytes()


def test_a_failed_write_leaves_nothing_and_keeps_the_old(
    bundle_path: Path, trust: Trust, key_folder: Path
) -> None:
    """The file at the path is always whole: the old one, or the new one."""
    before = bundle_path.read_bytes()
    manifest = read_bundle(bundle_path, trust).manifest
    with pytest.raises(KeyError):
        write_bundle(bundle_path, manifest, {}, read_signer(key_folder / "test.key"))
    assert before == bundle_path.read_bytes()
    assert [bundle_path] == list(bundle_path.parent.iterdir())


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04", bytes(4096)])
def test_a_foreign_file_is_no_bundle(tmp_path: Path, trust: Trust, content: bytes) -> None:
    path = tmp_path / "foreign.bundle"
    path.write_bytes(content)
    with pytest.raises(BundleUnreadable, match=r"foreign\.bundle: no readable zip file"):
        read_bundle(path, trust)


def test_a_missing_file_is_named(tmp_path: Path, trust: Trust) -> None:
    with pytest.raises(BundleUnreadable, match=r"gone\.bundle: cannot be read: No such file"):
        read_bundle(tmp_path / "gone.bundle", trust)


def test_every_truncation_is_refused(bundle_path: Path, trust: Trust) -> None:
    """Cut at every 97th byte: a clear error, never an exception of another kind."""
    whole = bundle_path.read_bytes()
    for size in range(0, len(whole) - 1, 97):
        bundle_path.write_bytes(whole[:size])
        with pytest.raises(BundleError, match=r"chain-1\.0\.0\.bundle"):
            read_bundle(bundle_path, trust)


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_a_flipped_byte_is_refused_or_harmless(
    bundle_path: Path, trust: Trust, data: st.DataObject
) -> None:
    """Whatever byte changes, what is read is what was signed."""
    whole = bundle_path.read_bytes()
    expected = read_bundle(bundle_path, trust)
    where = data.draw(st.integers(0, len(whole) - 1))
    flipped = bytearray(whole)
    flipped[where] ^= data.draw(st.integers(1, 255))
    bundle_path.write_bytes(flipped)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # zipfile warns of odd names before we refuse them
            received = read_bundle(bundle_path, trust)
    except BundleError:
        received = expected
    finally:
        bundle_path.write_bytes(whole)
    assert expected.digest == received.digest
    assert expected.segments == received.segments


@pytest.mark.parametrize("name", [MANIFEST, SIGNATURE, "segments/1.onnx", "samples.npz"])
def test_a_missing_member_is_named(bundle_path: Path, trust: Trust, name: str) -> None:
    contents = members(bundle_path)
    del contents[name]
    with pytest.raises(BundleUnreadable, match=name):
        read_bundle(rewrite(bundle_path, contents), trust)


def test_a_foreign_member_is_named(bundle_path: Path, trust: Trust) -> None:
    contents = members(bundle_path) | {"run_me.py": b"1"}
    with pytest.raises(BundleUnreadable, match=r"disagree on: run_me\.py"):
        read_bundle(rewrite(bundle_path, contents), trust)


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "segments/../../evil", "a\\..\\evil"])
def test_a_path_that_leaves_the_bundle_is_refused(
    bundle_path: Path, trust: Trust, name: str
) -> None:
    contents = members(bundle_path) | {name: b"1"}
    with pytest.raises(BundleUnreadable, match="points outside the bundle"):
        read_bundle(rewrite(bundle_path, contents), trust)


def test_a_member_that_comes_twice_is_refused(bundle_path: Path, trust: Trust) -> None:
    with warnings.catch_warnings(), zipfile.ZipFile(bundle_path, "a") as archive:
        warnings.simplefilter("ignore")
        archive.writestr(MANIFEST, b"{}")
    with pytest.raises(BundleUnreadable, match="a member name comes twice"):
        read_bundle(bundle_path, trust)


def test_thousands_of_members_are_refused(bundle_path: Path, trust: Trust) -> None:
    contents = members(bundle_path) | {f"m{i}": b"" for i in range(1000)}
    with pytest.raises(BundleUnreadable, match="more than a bundle may have"):
        read_bundle(rewrite(bundle_path, contents), trust)


@pytest.mark.parametrize("name", [MANIFEST, SIGNATURE, "segments/0.onnx", "samples.npz"])
def test_a_zip_bomb_is_refused_by_its_stated_size(
    bundle_path: Path, trust: Trust, name: str
) -> None:
    """64 MiB of zeros pack into 64 KiB; the size in the zip's directory is enough to refuse."""
    contents = members(bundle_path) | {name: bytes(64 << 20)}
    with pytest.raises(BundleUnreadable, match=rf"{name}': expected at most \d+ bytes, received"):
        read_bundle(rewrite(bundle_path, contents), trust)


def test_a_zip_bomb_that_lies_about_its_size_is_refused(bundle_path: Path, trust: Trust) -> None:
    """A directory that understates a member's size cannot make the reader hold more."""
    real = members(bundle_path)["segments/0.onnx"]
    rewrite(bundle_path, members(bundle_path) | {"segments/0.onnx": real + bytes(1 << 20)})
    raw = bytearray(bundle_path.read_bytes())
    lie = struct.pack("<I", len(real))
    entry = raw.index(b"segments/0.onnx", raw.rindex(b"PK\x01\x02") - 400) - 46
    while not raw[entry:].startswith(b"PK\x01\x02"):
        entry -= 1
    for directory in (entry + 24, raw.index(b"segments/0.onnx") - 30 + 22):
        raw[directory : directory + 4] = lie
    bundle_path.write_bytes(raw)
    with pytest.raises(BundleError, match=r"segments/0\.onnx|no readable zip file"):
        read_bundle(bundle_path, trust)


def test_an_exchanged_member_is_refused(bundle_path: Path, trust: Trust) -> None:
    contents = members(bundle_path)
    changed = bytearray(contents["segments/1.onnx"])
    changed[-1] ^= 1
    with pytest.raises(DigestMismatch, match=r"segments/1\.onnx': expected SHA-256 [0-9a-f]{64}, "):
        read_bundle(rewrite(bundle_path, contents | {"segments/1.onnx": bytes(changed)}), trust)


def test_a_changed_manifest_is_refused(bundle_path: Path, trust: Trust) -> None:
    contents = members(bundle_path)
    text = contents[MANIFEST].replace(b'"default_point":1', b'"default_point":2')
    with pytest.raises(SignatureInvalid, match="changed after signing"):
        read_bundle(rewrite(bundle_path, contents | {MANIFEST: text}), trust)


def test_a_stranger_s_signature_is_refused(bundle_path: Path, trust: Trust, tmp_path: Path) -> None:
    """Re-signing with another key makes a valid signature that nobody trusts."""
    write_key_pair(tmp_path / "evil.key", tmp_path / "evil" / "evil.pub")
    contents = members(bundle_path)
    signature = read_signer(tmp_path / "evil.key").sign(contents[MANIFEST])
    with pytest.raises(SignatureInvalid, match=r"which is not trusted in .*trust"):
        read_bundle(rewrite(bundle_path, contents | {SIGNATURE: signature}), trust)


@pytest.mark.parametrize(
    "signature", [b"", b"{}", b"\xff", b'{"type":"rsa"}', b'{"type":"ed25519","key_id":"a"}']
)
def test_a_signature_that_is_none_is_refused(
    bundle_path: Path, trust: Trust, signature: bytes
) -> None:
    contents = members(bundle_path) | {SIGNATURE: signature}
    with pytest.raises(SignatureInvalid, match="cannot be read"):
        read_bundle(rewrite(bundle_path, contents), trust)


def test_a_newer_format_is_refused_by_its_number(
    bundle_path: Path, trust: Trust, key_folder: Path
) -> None:
    """Fields of the future do not matter: the version decides first."""
    contents = members(bundle_path)
    raw = msgspec.json.decode(contents[MANIFEST]) | {"format_version": 5, "from_the_future": 1}
    contents[MANIFEST] = msgspec.json.encode(raw, order="sorted")
    with pytest.raises(FormatUnsupported, match="version 1 to 4, received 5; upgrade headtail"):
        read_bundle(resign(bundle_path, contents, key_folder), trust)


def test_a_bundle_of_the_first_format_is_read(
    bundle_path: Path, trust: Trust, key_folder: Path
) -> None:
    """It knows nothing of int4."""
    contents = members(bundle_path)
    raw = msgspec.json.decode(contents[MANIFEST]) | {"format_version": 1}
    for point in raw["points"]:
        point["encodings"] = [e for e in point["encodings"] if e["encoding"] != "int4"]
    contents[MANIFEST] = msgspec.json.encode(raw, order="sorted")
    bundle = read_bundle(resign(bundle_path, contents, key_folder), trust)
    assert bundle.manifest.format_version == 1


def test_a_manifest_in_another_form_is_refused(
    bundle_path: Path, trust: Trust, key_folder: Path
) -> None:
    """One content, one digest: white space would make a second."""
    contents = members(bundle_path)
    contents[MANIFEST] = msgspec.json.format(contents[MANIFEST], indent=1)
    with pytest.raises(ManifestInvalid, match="not in canonical form"):
        read_bundle(resign(bundle_path, contents, key_folder), trust)


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"{}", b'{"format_version":1}', b"[" * 100_000, b'{"format_version":"1"}']
)
def test_json_that_is_no_manifest_is_refused(text: bytes) -> None:
    with pytest.raises(ManifestInvalid, match="bundle b: manifest invalid"):
        decode_manifest(text, "b")


def test_samples_that_are_pickles_are_refused(
    bundle_path: Path, trust: Trust, key_folder: Path
) -> None:
    """An object array would run code when loaded."""
    buffer = io.BytesIO()
    np.savez(buffer, **{"input:x": np.array([object()]), "output:y": np.zeros(1)})
    bundle = read_bundle(bundle_path, trust)
    path = resign_with_samples(bundle_path, bundle.manifest, buffer.getvalue(), key_folder)
    with pytest.raises(ManifestInvalid, match=r"samples\.npz: Object arrays cannot be loaded"):
        read_bundle(path, trust)


def test_samples_of_another_shape_are_refused(
    bundle_path: Path, trust: Trust, key_folder: Path
) -> None:
    bundle = read_bundle(bundle_path, trust)
    wrong = Samples({"x": np.zeros((1, 5), np.float32)}, bundle.samples.outputs)
    path = resign_with_samples(bundle_path, bundle.manifest, encode_samples(wrong), key_folder)
    with pytest.raises(ManifestInvalid, match=r"'input:x' is float32 \(1, 5\)"):
        read_bundle(path, trust)


def test_samples_that_unpack_without_end_are_refused(
    bundle_path: Path, trust: Trust, key_folder: Path
) -> None:
    """A bomb inside samples.npz stops at 16 MiB."""
    bundle = read_bundle(bundle_path, trust)
    bomb = Samples({"x": np.zeros((5 << 20,), np.float32)}, bundle.samples.outputs)
    path = resign_with_samples(bundle_path, bundle.manifest, encode_samples(bomb), key_folder)
    with pytest.raises(ManifestInvalid, match="unpacks to more than"):
        read_bundle(path, trust)


def test_samples_that_claim_a_shape_they_do_not_hold_are_refused(
    bundle_path: Path, trust: Trust, key_folder: Path
) -> None:
    """A header that claims a terabyte is refused before anything is allocated for it."""
    bundle = read_bundle(bundle_path, trust)
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, tail in (("input:x", b", 16, 2"), ("output:y", b", 3")):
            header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (8589934592" + tail + b")}"
            header = header.ljust(117) + b"\n"
            archive.writestr(f"{name}.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", 118) + header)
    path = resign_with_samples(bundle_path, bundle.manifest, content.getvalue(), key_folder)
    with pytest.raises(ManifestInvalid, match="holds 8589934592 samples; at most 8"):
        read_bundle(path, trust)


def resign_with_samples(path: Path, manifest: object, samples: bytes, key_folder: Path) -> Path:
    """Put other samples into a bundle, with digest and signature in order."""
    changed = msgspec.structs.replace(manifest, samples=describe_member("samples.npz", samples))
    contents = members(path) | {"samples.npz": samples, MANIFEST: canonical(changed)}
    return resign(path, contents, key_folder)


def test_trust_without_a_key_says_where_it_looked(tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r"no trusted keys \(\*\.pub\) here"):
        read_trust(tmp_path)
