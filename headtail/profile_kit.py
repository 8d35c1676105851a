"""A profile kit: sample layers as small ONNX files in one zip, whose times profile a device.

A kit comes from outside and is not signed, so its files are bounded, checked against the manifest,
and may hold nothing but the operators of the sampled layers (`headtail.profile_graph`).
"""

import hashlib
import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from headtail.bundle.archive import describe_member
from headtail.bundle.manifest import Member
from headtail.errors import DataError
from headtail.files import write_file
from headtail.layer_shape import LayerShape, activation_bytes
from headtail.operations import Operations
from headtail.profile_graph import check_graph
from headtail.zip_errors import ZIP_ERRORS

MANIFEST = "manifest.json"
FORMAT_VERSION: Literal[1] = 1
MAX_LAYERS = 256
MAX_KIT_BYTES = 64 << 20
MAX_MANIFEST_BYTES = 1 << 20
MAX_MEMBER_BYTES = 8 << 20
_ZIP_DATE = (1980, 1, 1, 0, 0, 0)  # the earliest a zip can hold: no clock in a kit


class KitLayer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One sampled layer; its files take `x` and give one output for each copy of it."""

    name: Annotated[str, msgspec.Meta(pattern="^[a-z0-9-]{1,32}$")]
    shape: LayerShape
    is_held_out: bool
    """Whether rates are tested on this layer instead of fitted to it."""
    copies: Annotated[int, msgspec.Meta(ge=2, le=64)]
    operations: Operations
    activation_bytes: int
    """Bytes of the map that enters and of the one that leaves, float32."""
    single: Member
    """The graph with the layer once."""
    multiple: Member
    """The graph with `copies` of it side by side, with weights of their own."""

    def __post_init__(self) -> None:
        if self.operations != self.shape.operations:
            raise ValueError(f"layer '{self.name}': operations are not those of its shape")
        if self.activation_bytes != activation_bytes(self.shape):
            raise ValueError(f"layer '{self.name}': activation_bytes are not those of its shape")
        for member in (self.single, self.multiple):
            if member.bytes > MAX_MEMBER_BYTES:
                raise ValueError(f"layer '{self.name}': a file of over {MAX_MEMBER_BYTES} bytes")


class KitManifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything a kit says of itself."""

    format_version: Literal[1]
    description: Annotated[str, msgspec.Meta(max_length=1000)]
    layers: Annotated[tuple[KitLayer, ...], msgspec.Meta(min_length=1, max_length=MAX_LAYERS)]

    def __post_init__(self) -> None:
        if len({layer.name for layer in self.layers}) != len(self.layers):
            raise ValueError("a layer's name comes twice")
        if sum(m.bytes for m in self.members) > MAX_KIT_BYTES:
            raise ValueError(f"files of over {MAX_KIT_BYTES} bytes together")

    @property
    def members(self) -> tuple[Member, ...]:
        """Every file beside the manifest."""
        return tuple(m for layer in self.layers for m in (layer.single, layer.multiple))


@dataclass(frozen=True, slots=True)
class Kit:
    """A kit whose manifest, digests and graphs have been checked."""

    manifest: KitManifest
    digest: str
    """SHA-256 of the manifest's bytes, in hexadecimal."""
    contents: Mapping[str, bytes]
    """ONNX models by member path."""


def write_kit(
    path: Path, description: str, layers: Sequence[KitLayer], contents: Mapping[str, bytes]
) -> str:
    """Write a kit in one step and return its digest; the same layers give the same bytes.

    Raises:
        ConfigError: If `path` cannot be written.
    """
    manifest = KitManifest(FORMAT_VERSION, description, tuple(layers))
    text = msgspec.json.encode(manifest, order="sorted")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(_entry(MANIFEST), text)
        for member in manifest.members:
            assert describe_member(member.path, contents[member.path]) == member
            archive.writestr(_entry(member.path), contents[member.path])
    write_file(path, buffer.getvalue(), 0o644)
    return hashlib.sha256(text).hexdigest()


def read_kit(path: Path) -> Kit:
    """Read and check a kit: size, members, manifest, digests, operators, in this order.

    Raises:
        DataError: If it cannot be read, or breaks a rule; the text says which.
    """
    where = f"profile kit {path}"
    try:
        if path.stat().st_size > MAX_KIT_BYTES:
            raise DataError(where, f"expected at most {MAX_KIT_BYTES} bytes")
        with zipfile.ZipFile(path) as archive:
            return _read(archive, where)
    except OSError as error:
        raise DataError(where, f"cannot be read: {error.strerror or error}") from error
    except ZIP_ERRORS as error:
        raise DataError(where, f"no readable zip file: {error}") from error


def _read(archive: zipfile.ZipFile, where: str) -> Kit:
    infos = archive.infolist()
    if len(infos) > 2 * MAX_LAYERS + 1:
        raise DataError(where, f"{len(infos)} members are more than a kit may have")
    entries = {info.filename: info for info in infos}
    text = _content(archive, entries, MANIFEST, MAX_MANIFEST_BYTES, where)
    try:
        manifest = msgspec.json.decode(text, type=KitManifest)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise DataError(where, f"manifest: {error}") from error
    expected = [MANIFEST, *(m.path for m in manifest.members)]
    if sorted(expected) != sorted(info.filename for info in infos):
        raise DataError(where, "members are not those that the manifest names, each once")
    contents = {}
    for layer in manifest.layers:
        for member, count in ((layer.single, 1), (layer.multiple, layer.copies)):
            content = _content(archive, entries, member.path, member.bytes, where)
            if describe_member(member.path, content) != member:
                raise DataError(where, f"member '{member.path}' is not what the manifest names")
            check_graph(content, layer.shape.kind, count, f"{where}: member '{member.path}'")
            contents[member.path] = content
    return Kit(manifest, hashlib.sha256(text).hexdigest(), contents)


def _content(
    archive: zipfile.ZipFile,
    entries: Mapping[str, zipfile.ZipInfo],
    name: str,
    limit: int,
    where: str,
) -> bytes:
    """Return a member's bytes, never holding more than `limit` + 1 of them."""
    info = entries.get(name)
    if info is None:
        raise DataError(where, f"member '{name[:80]}' is missing")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise DataError(where, f"member '{name[:80]}' uses a foreign compression")
    with archive.open(info) as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise DataError(where, f"member '{name[:80]}': expected at most {limit} bytes")
    return content


def _entry(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, date_time=_ZIP_DATE)
    info.compress_type = zipfile.ZIP_DEFLATED
    info.external_attr = 0o644 << 16
    return info
