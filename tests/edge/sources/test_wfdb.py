"""The reader of WFDB samples against a slow decoder, and the wfdb package on real records."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.sources.header import read_record
from edge_agent.sources.wfdb import LeadReader, decode_16, decode_212
from headtail.errors import DataError

COUNTS = st.integers(-2048, 2047)


def decode_slowly(data: bytes) -> list[int]:
    """Decode pairs of 12-bit counts, bit by bit, as the format's description reads."""
    counts = []
    for i in range(0, len(data), 3):
        low, high, other = data[i : i + 3]
        for value in (low + 256 * (high % 16), other + 256 * (high // 16)):
            counts.append(value - 4096 if value >= 2048 else value)
    return counts


def encode_212(counts: list[int]) -> bytes:
    """Encode counts; an odd last one takes two bytes."""
    pairs = [*counts, 0] if len(counts) % 2 else counts
    data = bytearray()
    for a, b in zip(pairs[::2], pairs[1::2], strict=True):
        data += bytes([a & 0xFF, (a >> 8 & 0x0F) | (b >> 4 & 0xF0), b & 0xFF])
    return bytes(data[:-1] if len(counts) % 2 else data)


def write_record(folder: Path, counts: np.ndarray, form: int = 212, header: str = "") -> Path:
    """Write counts, shape (samples, signals), as record `r`; header lines end in CRLF."""
    flat = counts.reshape(-1).tolist()
    data = encode_212(flat) if form == 212 else counts.astype("<i2").tobytes()
    (folder / "r.dat").write_bytes(data)
    names = ["V5", "MLII", "V1"][-counts.shape[1] :] if counts.shape[1] > 1 else ["V5"]
    lines = [f"r.dat {form} 200(10)/mV 11 0 0 0 0 {name}" for name in names]
    text = header or "\r\n".join([f"r {counts.shape[1]} 360 {len(counts)}", *lines, "# 69 M", ""])
    (folder / "r.hea").write_bytes(text.encode())
    return folder / "r"


def read_all(path: Path, lead: int, chunk: int) -> np.ndarray:
    """Return a lead as the agent reads it."""
    reader = LeadReader(read_record(path), lead)
    return np.concatenate([np.empty(0), *reader.chunks(chunk)])


@given(st.binary(max_size=300).filter(lambda data: len(data) % 3 == 0))
def test_212_equals_the_slow_decoder(data):
    assert decode_slowly(data) == decode_212(data).tolist()


@given(st.lists(COUNTS, max_size=60).filter(lambda counts: len(counts) % 2 == 0))
def test_212_is_the_inverse_of_encoding(counts):
    assert counts == decode_212(encode_212(counts)).tolist()


def test_16_is_little_endian():
    assert [1, -2] == decode_16(b"\x01\x00\xfe\xff").tolist()


@pytest.mark.parametrize("form", [212, 16])
@pytest.mark.parametrize("signals", [1, 2, 3])
@pytest.mark.parametrize("samples", [1, 7, 8, 101])
def test_every_lead_in_chunks_equals_the_counts(tmp_path, form, signals, samples):
    """Odd numbers of samples and of signals cut pairs of format 212 everywhere."""
    counts = np.random.default_rng(samples).integers(-2047, 2048, (samples, signals))
    path = write_record(tmp_path, counts, form)
    for lead in range(signals):
        for chunk in (2, 6, 4096):
            expected = (counts[:, lead] - 10) / 200
            assert expected.tolist() == read_all(path, lead, chunk).tolist()


def test_count_that_marks_a_missing_sample_becomes_nan(tmp_path):
    path = write_record(tmp_path, np.array([[0], [-2048], [5]]))
    assert [False, True, False] == np.isnan(read_all(path, 0, 4096)).tolist()


def test_truncated_samples_are_refused_at_once(tmp_path):
    path = write_record(tmp_path, np.zeros((100, 2), int))
    (tmp_path / "r.dat").write_bytes((tmp_path / "r.dat").read_bytes()[:-4])
    with pytest.raises(DataError, match=r"r\.dat: truncated: .* 100 samples .* 98 are there"):
        LeadReader(read_record(path), 0)


def test_samples_that_shrink_while_read_are_an_error(tmp_path):
    path = write_record(tmp_path, np.zeros((50_000, 2), int))
    chunks = LeadReader(read_record(path), 0).chunks(10_000)
    next(chunks)
    os.truncate(tmp_path / "r.dat", 31_000)
    with pytest.raises(DataError, match="truncated while it was read, near sample"):
        list(chunks)


def test_missing_file_of_samples_is_named(tmp_path):
    path = write_record(tmp_path, np.zeros((4, 2), int))
    (tmp_path / "r.dat").unlink()
    with pytest.raises(DataError, match=r"r\.dat: cannot be read"):
        LeadReader(read_record(path), 0)


def test_length_comes_from_the_file_where_the_header_has_none(tmp_path):
    path = write_record(tmp_path, np.arange(9).reshape(9, 1), header="r 1 360\nr.dat 212 200")
    assert 9 == len(read_all(path, 0, 4))


@pytest.mark.data
@pytest.mark.parametrize("name", ["100", "102", "114", "232"])
def test_real_records_equal_the_wfdb_package(name, real_data):
    """To the last bit, lead and units included."""
    wfdb = pytest.importorskip("wfdb", reason="the optimizer's environment has it")
    path = real_data("mitdb") / name
    record = read_record(path)
    theirs = wfdb.rdrecord(str(path))
    lead = record.lead
    assert theirs.sig_name[lead] == record.signals[lead].description
    assert ("MLII" in theirs.sig_name) == (theirs.sig_name[lead] == "MLII")
    assert np.array_equal(theirs.p_signal[:, lead], read_all(path, lead, 4096), equal_nan=True)
