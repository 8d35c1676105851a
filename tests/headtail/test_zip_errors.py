"""Every way in which a zip file is bad raises what its readers look out for."""

import io
import zipfile
from collections.abc import Callable

import pytest

from headtail.zip_errors import ZIP_ERRORS

NAME, CONTENT = "a.txt", b"the same words again and again; " * 8
LOCAL_BYTES, CENTRAL = 30, b"PK\x01\x02"
"""Of a member's header before its name, and where its entry in the directory begins (APPNOTE)."""


def zipped(method: int = zipfile.ZIP_DEFLATED) -> bytearray:
    """Return a zip file with one member."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr(NAME, CONTENT)
    return bytearray(buffer.getvalue())


def headed(offset: int, value: bytes) -> bytearray:
    """Return one whose two headers say something else; `offset` is that in the directory."""
    data = zipped()
    for start in (data.index(CENTRAL) + offset, offset - 2):
        data[start : start + len(value)] = value
    return data


def filled(method: int, skipped: int) -> bytearray:
    """Return one whose compressed bytes are none, but for the first few."""
    data = zipped(method)
    start = LOCAL_BYTES + len(NAME)
    stop = data.index(CENTRAL)
    data[start + skipped : stop] = b"\xff" * (stop - start - skipped)
    return data


BAD: dict[str, Callable[[], bytes]] = {
    "no zip": lambda: b"hello",
    "cut": lambda: zipped()[:-30],
    "version": lambda: headed(6, b"\xff\x00"),
    "encrypted": lambda: headed(8, b"\x01\x00"),
    "compression": lambda: headed(10, b"\x63\x00"),
    "checksum": lambda: headed(16, b"\x00\x00\x00\x00"),
    "name": lambda: headed(8, b"\x00\x08").replace(NAME.encode(), b"\xff.txt"),
    "deflate": lambda: filled(zipfile.ZIP_DEFLATED, 0),
    "lzma": lambda: filled(zipfile.ZIP_LZMA, 9),
}


@pytest.mark.parametrize("fault", BAD)
def test_bad_zip_raises_what_is_expected(fault):
    with pytest.raises(ZIP_ERRORS), zipfile.ZipFile(io.BytesIO(BAD[fault]())) as archive:
        archive.read(archive.infolist()[0])


def test_good_zip_is_read():
    """The faults above are made from it."""
    with zipfile.ZipFile(io.BytesIO(zipped())) as archive:
        assert CONTENT == archive.read(NAME)
