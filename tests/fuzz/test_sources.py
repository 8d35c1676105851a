"""Damaged records, arrays, images and lines: an error of ours that names the file, or windows."""

import io
import os
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
from hypothesis import strategies as st
from PIL import Image

from edge_agent.sources.header import parse_header, read_record
from edge_agent.sources.images import read_image
from edge_agent.sources.intake import Intake
from edge_agent.sources.npz import NpzSource
from edge_agent.sources.stdin import StdinSource
from edge_agent.sources.wfdb import LeadReader
from edge_agent.stop import Stop
from fuzzing import VALUES, damaged, damaged_tree, fuzz
from headtail.bundle import Bundle
from headtail.errors import DataError, HeadtailError

HEADER = (
    b"100 2 360 1000 0:0:0 0/0/0\n100.dat 212 200(0)/mV 11 1024 995 -22131 0 MLII\n"
    b"100.dat 212 200 11 1024 1011 20052 0 V5\n# 69 M 1085 1629 x1\n"
)
TOKENS = [
    b"-1", b"0", b"1e308", b"1e-320", b"nan", b"inf", b"9" * 400, b"999999999999999999", b"..",
    b"/etc/passwd", b"100.dat+99999999999", b"212x9", b"16+18446744073709551616", b"0.0001(9)",
]  # fmt: skip
WINDOW = np.arange(32, dtype=np.float32).reshape(16, 2)
MAX_CHUNKS = 64


def npz_bytes(**arrays: np.ndarray) -> bytes:
    """Return arrays as the bytes of an .npz."""
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def image_bytes(kind: str) -> bytes:
    """Return a small image as the bytes of a file."""
    file = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (9, 11, 3), np.uint8)
    Image.fromarray(noise).save(file, kind)
    return file.getvalue()


NPZ = npz_bytes(x=np.stack([WINDOW] * 4), y=np.arange(4))
IMAGES = {kind: image_bytes(kind) for kind in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM")}


def check_header(data: st.DataObject) -> None:
    """Any bytes, and good fields in which one is hostile."""
    if data.draw(st.booleans()):
        content = data.draw(damaged(HEADER))
    else:
        fields = HEADER.split(b" ")
        at = data.draw(st.integers(0, len(fields) - 1))
        fields[at] = data.draw(st.sampled_from(TOKENS))
        content = b" ".join(fields)
    with suppress(DataError):
        parse_header(content.decode("latin-1"), Path("fuzzed.hea"))


def check_record(folder: Path, data: st.DataObject) -> None:
    """A header of hostile numbers beside a file of samples that is real."""
    fields = HEADER.split(b" ")
    for _ in range(data.draw(st.integers(0, 2))):
        at = data.draw(st.integers(1, len(fields) - 1))
        fields[at] = data.draw(st.sampled_from(TOKENS))
    (folder / "100.hea").write_bytes(b" ".join(fields))
    (folder / "100.dat").write_bytes(data.draw(st.binary(max_size=40)) * 100)
    with suppress(DataError):
        record = read_record(folder / "100")
        chunks = LeadReader(record, record.lead).chunks(64)
        for _, chunk in zip(range(MAX_CHUNKS), chunks, strict=False):
            assert chunk.dtype == np.float64
            assert len(chunk) <= 64


def check_npz(bundle: Bundle, folder: Path, data: st.DataObject) -> None:
    """A damaged zip, and intact zips of arrays that nobody expects."""
    path = folder / "fuzzed.npz"
    if data.draw(st.booleans()):
        path.write_bytes(data.draw(damaged(NPZ)))
    else:
        dtype = data.draw(st.sampled_from(["<f8", ">f4", "i1", "u8", "?", "c8", "M8[s]", "S4"]))
        shape = data.draw(st.sampled_from([(), (0,), (4,), (4, 16, 2), (4, 0, 2), (2, 16, 2, 1)]))
        path.write_bytes(npz_bytes(x=np.zeros(shape, dtype), y=np.zeros(shape[:1], dtype)))
    with suppress(HeadtailError), closing(NpzSource(path, Intake(bundle.manifest))) as source:
        for batch in source.batches(3):
            assert {(16, 2)} == {frame.tensors["x"].shape for frame in batch}


def check_image(folder: Path, data: st.DataObject) -> None:
    """Each format Pillow reads for us."""
    kind = data.draw(st.sampled_from(sorted(IMAGES)))
    path = folder / f"fuzzed.{kind.lower()}"
    path.write_bytes(data.draw(damaged(IMAGES[kind])))
    with suppress(DataError):
        array = read_image(path)
        assert array.dtype == np.uint8
        assert (3, 3) == (array.ndim, array.shape[-1])


def check_line(bundle: Bundle, data: st.DataObject) -> None:
    """Bytes that are no JSON, and JSON that is no window."""
    import msgspec

    good = {"x": WINDOW.tolist(), "y": 1}
    if data.draw(st.booleans()):
        line = data.draw(damaged(msgspec.json.encode(good)))
    else:
        tree = data.draw(st.one_of(damaged_tree(good), VALUES))
        line = msgspec.json.encode(tree)
    receiver, sender = os.pipe()
    try:
        os.write(sender, line + b"\n")
        os.close(sender)
        with suppress(HeadtailError), closing(Stop()) as stop:
            source = StdinSource(receiver, Intake(bundle.manifest), stop)
            for batch in source.batches(8):
                assert {(16, 2)} == {frame.tensors["x"].shape for frame in batch}
    finally:
        os.close(receiver)


test_headers, test_headers_for_long = fuzz(check_header, data=st.data())
test_records, test_records_for_long = fuzz(check_record, data=st.data())
test_npz_files, test_npz_files_for_long = fuzz(check_npz, data=st.data())
test_images, test_images_for_long = fuzz(check_image, data=st.data())
test_lines, test_lines_for_long = fuzz(check_line, data=st.data())
