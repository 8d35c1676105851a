"""Damaged EDF files: a DataError, or finite samples."""

import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path

import numpy as np
import pyedflib
import pytest
from hypothesis import strategies as st

from fuzzing import damaged, fuzz
from headtail.errors import DataError
from optimizer.data.edf import EdfRecording

pytestmark = pytest.mark.tf
RATE_HZ, SECONDS = 256, 3
HEADER_BYTES = 256 * 3  # of the file and its two signals


@cache
def edf_bytes() -> bytes:
    """Return three seconds of the two channels as the bytes of a file."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.edf"
        with pyedflib.EdfWriter(str(path), 2, file_type=pyedflib.FILETYPE_EDF) as writer:
            for number, label in enumerate(("F7-T7", "F8-T8")):
                writer.setLabel(number, label)
                writer.setSamplefrequency(number, RATE_HZ)
                writer.setPhysicalMinimum(number, -800)
                writer.setPhysicalMaximum(number, 800)
            writer.writeSamples(list(rng.uniform(-500, 500, (2, RATE_HZ * SECONDS))))
        return path.read_bytes()


def check_edf(data: st.DataObject) -> None:
    """The header above all: everything in it is a number or a name in ASCII."""
    good = edf_bytes()
    content = data.draw(
        st.one_of(damaged(good), damaged(good[:HEADER_BYTES]).map(lambda h: h + good[len(h) :]))
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "b.edf"
        path.write_bytes(content)
        with suppress(DataError), EdfRecording(path) as recording:
            if recording.montage and recording.samples:
                assert np.isfinite(recording.read(0, min(recording.samples, 64))).all()


test_edf, test_edf_for_long = fuzz(check_edf, data=st.data())
