"""Reading and writing the bundle's zip file: nothing is believed before it is checked."""

import hashlib
import io
import os
import tempfile
import tokenize
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from headtail.bundle.keys import MAX_SIGNATURE_BYTES, Signer, Trust
from headtail.bundle.manifest import (
    FORMAT_VERSION,
    MAX_MANIFEST_BYTES,
    MAX_SAMPLES,
    MAX_SAMPLES_BYTES,
    MAX_SEGMENTS,
    Manifest,
    Member,
    canonical,
    digest,
)
from headtail.errors import (
    BundleUnreadable,
    DigestMismatch,
    FormatUnsupported,
    ManifestInvalid,
    TensorError,
)
from headtail.tensor import Array, TensorSpec, fits, from_buffer
from headtail.zip_errors import ZIP_ERRORS

MANIFEST, SIGNATURE = "manifest.json", "signature"
_NPY_ERRORS = (ValueError, SyntaxError, tokenize.TokenError)
"""What NumPy raises for a header of an .npy that is none."""
_ZIP_DATE = (1980, 1, 1, 0, 0, 0)  # the earliest a zip can hold: no clock in a bundle


@dataclass(frozen=True, slots=True)
class Samples:
    """Up to 8 real windows with the whole model's outputs, by tensor name."""

    inputs: Mapping[str, Array]
    outputs: Mapping[str, Array]


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle whose signature, digests and manifest have been checked."""

    manifest: Manifest
    digest: str
    key_id: str
    size_bytes: int
    segments: tuple[bytes, ...]
    samples: Samples
    report: bytes


class _Format(msgspec.Struct):
    """Only what decides which reader may go on."""

    format_version: int


def describe_member(path: str, content: bytes) -> Member:
    """Return the manifest's record of a member."""
    return Member(path=path, sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))


def encode_samples(samples: Samples) -> bytes:
    """Return the bytes of `samples.npz`, the same for the same arrays."""
    buffer = io.BytesIO()
    arrays = {f"input:{n}": a for n, a in samples.inputs.items()}
    arrays |= {f"output:{n}": a for n, a in samples.outputs.items()}
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name in sorted(arrays):
            array = io.BytesIO()
            np.lib.format.write_array(array, np.ascontiguousarray(arrays[name]), version=(1, 0))
            file.writestr(_entry(f"{name}.npy"), array.getvalue())
    return buffer.getvalue()


def write_bundle(
    path: Path, manifest: Manifest, contents: Mapping[str, bytes], signer: Signer
) -> str:
    """Write a signed bundle in one step: it is whole at `path`, or it is not there.

    Args:
        path: Where; an existing file is replaced.
        manifest: What the bundle says of itself.
        contents: Bytes of every member of the manifest, by path.
        signer: Who vouches for it.

    Returns:
        The bundle's digest.
    """
    text = canonical(manifest)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            with zipfile.ZipFile(file, "w") as archive:
                archive.writestr(_entry(MANIFEST), text)
                archive.writestr(_entry(SIGNATURE), signer.sign(text))
                for member in manifest.members:
                    assert describe_member(member.path, contents[member.path]) == member
                    archive.writestr(_entry(member.path), contents[member.path])
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return digest(manifest)


def read_bundle(path: Path, trust: Trust) -> Bundle:
    """Read and check a bundle: zip, signature, manifest, digests, samples, in this order.

    The segments are bytes still; `headtail.segment` loads and self-tests them.

    Raises:
        BundleError: One class per kind of fault, see `headtail.errors`.
    """
    where = str(path)
    with _opened(path) as (archive, size):
        return _read(archive, size, where, trust)


def read_manifest(path: Path, trust: Trust) -> Manifest:
    """Read and check a bundle's manifest and signature alone: its members may still be damaged.

    Raises:
        BundleError: As `read_bundle`.
    """
    with _opened(path) as (archive, _):
        return _read_manifest(archive, _entries(archive, str(path)), str(path), trust)[0]


@contextmanager
def _opened(path: Path) -> Iterator[tuple[zipfile.ZipFile, int]]:
    """Open a bundle's file; yield it with its size in bytes."""
    try:
        size = path.stat().st_size
        with zipfile.ZipFile(path) as archive:
            yield archive, size
    except OSError as error:
        reason = f"cannot be read: {error.strerror or error}"
        raise BundleUnreadable(str(path), reason) from error
    except ZIP_ERRORS as error:
        raise BundleUnreadable(str(path), f"no readable zip file: {error}") from error


def _read_manifest(
    archive: zipfile.ZipFile, entries: Mapping[str, zipfile.ZipInfo], where: str, trust: Trust
) -> tuple[Manifest, str]:
    """Return the manifest and the id of the key that signed it."""
    text = _content(archive, entries, MANIFEST, MAX_MANIFEST_BYTES, where)
    signature = _content(archive, entries, SIGNATURE, MAX_SIGNATURE_BYTES, where)
    key = trust.verify(text, signature, where)
    return decode_manifest(text, where), key


def _read(archive: zipfile.ZipFile, size: int, where: str, trust: Trust) -> Bundle:
    entries = _entries(archive, where)
    manifest, key = _read_manifest(archive, entries, where, trust)
    expected = {MANIFEST, SIGNATURE, *(m.path for m in manifest.members)}
    if entries.keys() != expected:
        odd = ", ".join(sorted(entries.keys() ^ expected)[:4])
        raise BundleUnreadable(where, f"members and manifest disagree on: {odd}")
    contents = {m.path: _member(archive, entries, m, where) for m in manifest.members}
    return Bundle(
        manifest=manifest,
        digest=digest(manifest),
        key_id=key,
        size_bytes=size,
        segments=tuple(contents[s.member.path] for s in manifest.segments),
        samples=_decode_samples(contents[manifest.samples.path], manifest, where),
        report=contents[manifest.report.path],
    )


def decode_manifest(text: bytes, where: str) -> Manifest:
    """Decode a manifest and check its rules.

    Raises:
        FormatUnsupported: If a newer headtail wrote it.
        ManifestInvalid: If it breaks a rule or is not in canonical form.
    """
    try:
        version = msgspec.json.decode(text, type=_Format).format_version
        if version > FORMAT_VERSION:
            raise FormatUnsupported(where, FORMAT_VERSION, version)
        manifest = msgspec.json.decode(text, type=Manifest)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise ManifestInvalid(where, str(error)) from error
    if canonical(manifest) != text:
        raise ManifestInvalid(where, "not in canonical form, so its digest means nothing")
    return manifest


def _entries(archive: zipfile.ZipFile, where: str) -> dict[str, zipfile.ZipInfo]:
    infos = archive.infolist()
    if len(infos) > MAX_SEGMENTS + 4:
        raise BundleUnreadable(where, f"{len(infos)} members are more than a bundle may have")
    entries = {info.filename: info for info in infos}
    if len(entries) != len(infos):
        raise BundleUnreadable(where, "a member name comes twice")
    for name, info in entries.items():
        if name.startswith("/") or ".." in name.split("/") or "\\" in name:
            raise BundleUnreadable(where, f"member '{name[:80]}' points outside the bundle")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise BundleUnreadable(where, f"member '{name[:80]}' uses a foreign compression")
    return entries


def _content(
    archive: zipfile.ZipFile,
    entries: Mapping[str, zipfile.ZipInfo],
    name: str,
    limit: int,
    where: str,
) -> bytes:
    """Return a member's bytes, never holding more than `limit` + 1 of them."""
    if name not in entries:
        raise BundleUnreadable(where, f"member '{name}' is missing")
    if entries[name].file_size > limit:
        raise BundleUnreadable(
            where,
            f"member '{name}': expected at most {limit} bytes, received {entries[name].file_size}",
        )
    with archive.open(entries[name]) as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise BundleUnreadable(
            where, f"member '{name}' unpacks to more than the {limit} bytes it may"
        )
    return content


def _member(
    archive: zipfile.ZipFile, entries: Mapping[str, zipfile.ZipInfo], member: Member, where: str
) -> bytes:
    content = _content(archive, entries, member.path, member.bytes, where)
    received = hashlib.sha256(content).hexdigest()
    if received != member.sha256:
        raise DigestMismatch(where, member.path, member.sha256, received)
    return content


def _decode_samples(content: bytes, manifest: Manifest, where: str) -> Samples:
    expected = {f"input:{s.name}": s for s in manifest.inputs}
    expected |= {f"output:{s.name}": s for s in manifest.outputs}
    arrays = {}
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as file:
            names = {f"{n}.npy" for n in expected}
            if set(file.namelist()) != names:
                raise ManifestInvalid(where, f"samples.npz must hold {sorted(expected)}")
            for name, spec in expected.items():
                arrays[name] = _decode_array(file, name, spec)
    except (TensorError, *ZIP_ERRORS, *_NPY_ERRORS) as error:
        raise ManifestInvalid(where, f"samples.npz: {error}") from error
    return Samples(
        inputs={s.name: arrays[f"input:{s.name}"] for s in manifest.inputs},
        outputs={s.name: arrays[f"output:{s.name}"] for s in manifest.outputs},
    )


def _decode_array(file: zipfile.ZipFile, name: str, spec: TensorSpec) -> Array:
    # An .npy's bytes are bounded by what samples may unpack to; pickled objects are refused.
    limit = 16 * MAX_SAMPLES_BYTES
    with file.open(f"{name}.npy") as entry:
        data = entry.read(limit + 1)
    if len(data) > limit:
        raise ValueError(f"'{name}' unpacks to more than {limit} bytes")
    shape, dtype, start = _npy_header(data)
    if dtype.hasobject:
        raise ValueError("Object arrays cannot be loaded")
    if dtype.name != spec.dtype or not fits(shape, spec.shape):
        raise ValueError(f"'{name}' is {dtype.name} {shape}, not {spec}")
    if spec.is_batchable and shape[0] > MAX_SAMPLES:
        raise ValueError(f"'{name}' holds {shape[0]} samples; at most {MAX_SAMPLES} may be")
    return from_buffer(memoryview(data)[start:], spec, shape)


def _npy_header(data: bytes) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    """Return shape, dtype and where the values start; nothing is allocated from its claims."""
    file = io.BytesIO(data)
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError("an array is not in .npy format 1.0")
    shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(file)
    if is_fortran or dtype.byteorder == ">":
        raise ValueError("an array is not little-endian and row-major")
    return shape, dtype, file.tell()


def _entry(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, date_time=_ZIP_DATE)
    info.compress_type = zipfile.ZIP_DEFLATED
    info.external_attr = 0o644 << 16
    return info
