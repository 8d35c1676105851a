"""Synthetic WFDB records as the wfdb package reads them."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headtail.errors import DataError
from optimizer.data.mitbih import read_record, wfdb
from optimizer.data.record import encode_212, encode_annotations, write_record
from optimizer.data.synthetic import make_record


def test_wfdb_reads_back_what_was_written(tmp_path: Path) -> None:
    """Signal to half a count of the converter, beats exactly, header without warnings."""
    record = make_record(60, np.random.default_rng(5))
    assert tmp_path / "s1.hea" == write_record(tmp_path, "s1", record)
    read = read_record(tmp_path, "s1")
    assert ("MLII", 360.0) == (read.lead, read.rate_hz)
    np.testing.assert_allclose(record.signal, read.signal, atol=0.5 / 200 + 1e-9)
    np.testing.assert_array_equal(record.samples, read.samples)
    np.testing.assert_array_equal(record.classes, read.classes)


def test_header_tells_the_checksum_and_that_it_is_synthetic(tmp_path: Path) -> None:
    write_record(tmp_path, "s1", make_record(10, np.random.default_rng(5)))
    read = wfdb.rdrecord(str(tmp_path / "s1"), physical=False)
    assert read.calc_checksum() == [value % 65536 for value in read.checksum]
    assert ["MLII", "V5"] == read.sig_name
    assert ["synthetic ECG, from no patient"] == read.comments


def test_format_212_by_hand() -> None:
    """0x123 and -2 (0xFFE) share three bytes: 23, F1, FE."""
    assert bytes([0x23, 0xF1, 0xFE]) == encode_212(np.array([0x123, -2]))
    assert bytes([0x23, 0x01, 0x00]) == encode_212(np.array([0x123]))


@pytest.mark.filterwarnings("ignore:The inplace keyword:DeprecationWarning")
@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 3_000_000), max_size=20), st.integers(0, 2**32 - 1))
def test_annotations_come_back(tmp_path_factory, gaps: list[int], seed: int) -> None:
    """Any distance between beats can be written, also beyond what one word holds."""
    folder = tmp_path_factory.mktemp("atr")
    samples = np.cumsum(np.array(gaps, dtype=np.int64))
    classes = np.random.default_rng(seed).integers(0, 5, len(gaps))
    (folder / "a.atr").write_bytes(encode_annotations(samples, classes))
    if gaps:
        read = wfdb.rdann(str(folder / "a"), "atr")
        assert samples.tolist() == read.sample.tolist()
        assert ["NAVF/"[i] for i in classes] == list(read.symbol)


def test_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="file/s1: cannot be written"):
        write_record(tmp_path / "file", "s1", make_record(5, np.random.default_rng(0)))
