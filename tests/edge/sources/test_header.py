"""Headers of WFDB records: what real ones say, and what hostile ones may not."""

import contextlib
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.sources.header import parse_header, read_record
from headtail.errors import DataError

PATH = Path("folder/100.hea")
REAL = (
    "100 2 360 650000\r\n100.dat 212 200 11 1024 995 -22131 0 MLII\r\n"
    "100.dat 212 200 11 1024 1011 20052 0 V5\r\n# 69 M 1085 1629 x1\r\n"
)


def test_header_of_record_100():
    record = parse_header(REAL, PATH)
    assert ("100", 360.0, 650_000, 0) == (record.name, record.rate_hz, record.samples, record.lead)
    signal = record.signals[1]
    assert ("100.dat", 212, 200.0, 1024, "V5") == (
        signal.file, signal.format, signal.gain, signal.baseline, signal.description,
    )  # fmt: skip


def test_mlii_is_preferred_to_the_first_lead():
    swapped = REAL.replace("MLII", "V9").replace(" V5", " MLII")
    assert 1 == parse_header(swapped, PATH).lead


def test_baseline_units_and_offset_of_a_full_signal_line():
    text = "r 1 100/360(0) 5 10:00:00\nr.dat 16+24 1.5(-7)/uV 16 3 0 0 0 lead II"
    record = parse_header(text, PATH)
    signal = record.signals[0]
    assert (1.5, -7, "uV", 24) == (signal.gain, signal.baseline, signal.units, signal.offset_bytes)
    assert ("lead II", 100.0) == (signal.description, record.rate_hz)


def test_what_is_left_out_takes_the_formats_defaults():
    record = parse_header("r 1\nr.dat 212", PATH)
    signal = record.signals[0]
    assert (250.0, None) == (record.rate_hz, record.samples)
    assert (200.0, 0, "mV", "") == (signal.gain, signal.baseline, signal.units, signal.description)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "expected a record line, received an empty header"),
        ("# only a comment", "empty header"),
        ("r", "number of signals: expected a whole number, received ''"),
        ("r two", "number of signals: expected a whole number, received 'two'"),
        ("r 0 360 10", "expected 1 to 64 signals, received 0"),
        ("r 100000 360 10", "expected 1 to 64 signals, received 100000"),
        ("r/3 2 360 10", "multi-segment record 'r/3' is not supported"),
        ("r 1 nan 10\nr.dat 212", "sampling frequency: expected a number, received 'nan'"),
        ("r 1 -5 10\nr.dat 212", "expected a sampling frequency in (0, 1e6] Hz, received -5.0"),
        ("r 1 1e9 10\nr.dat 212", "expected a sampling frequency in (0, 1e6] Hz"),
        ("r 1 360 99999999999999999999\nr.dat 212", "number of samples: expected a whole number"),
        ("r 1 360 999999999999999999\nr.dat 212", "expected at most 1099511627776 samples"),
        ("r 1 360 -4\nr.dat 212", "expected at least 0 samples, received -4"),
        ("r 2 360 10\nr.dat 212", "expected 2 signal lines, received 1"),
        ("r 1 360 10\nr.dat", "signal 0: expected a file and a format"),
        ("r 1 360 10\nr.dat 8", "signal 0: expected format 16, 212, received 8"),
        ("r 1 360 10\nr.dat x", "signal 0: expected a format, received 'x'"),
        ("r 1 360 10\nr.dat 212x4", "several samples a frame and skew are not supported"),
        ("r 1 360 10\nr.dat 212:4", "several samples a frame and skew are not supported"),
        ("r 1 360 10\n../r.dat 212", "file '../r.dat' is not in the record's own folder"),
        ("r 1 360 10\n/etc/passwd 16", "file '/etc/passwd' is not in the record's own folder"),
        ("r 1 360 10\nr.dat 212 much", "expected a gain, received 'much'"),
        ("r 1 360 10\nr.dat 212 1e999", "gain: expected a number, received '1e999'"),
    ],
)
def test_hostile_header_is_refused_by_name(text, reason):
    with pytest.raises(DataError, match=re.escape(reason)):
        parse_header(text, PATH)


@given(st.text(max_size=200))
def test_any_text_parses_or_is_refused(text):
    """No other error ever comes out."""
    with contextlib.suppress(DataError):
        parse_header(text, PATH)


def test_missing_header_is_named(tmp_path):
    with pytest.raises(DataError, match=r"absent\.hea: cannot be read: No such file"):
        read_record(tmp_path / "absent")


def test_huge_header_is_refused(tmp_path):
    (tmp_path / "r.hea").write_bytes(b"#" * 70_000)
    with pytest.raises(DataError, match="expected a header of at most 65536 bytes"):
        read_record(tmp_path / "r.hea")
