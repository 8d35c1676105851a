"""One lead of a WFDB record, read in chunks and turned into physical units."""

import math
from collections.abc import Iterator
from typing import IO

import numpy as np
from numpy.typing import NDArray

from edge_agent.sources.header import BYTES_PER_SAMPLE, Record
from headtail.errors import DataError
from headtail.tensor import Array

INVALID = {212: -2048, 16: -32768}
"""The count that stands for a missing sample (signal-5)."""


def decode_212(data: bytes) -> NDArray[np.int16]:
    """Decode 12-bit two's complement pairs of 3 bytes: two low bytes around a byte of high halves.

    Args:
        data: A multiple of 3 bytes.

    Returns:
        Two counts per 3 bytes, in -2048 to 2047.

    Source: signal-5, format 212.
    """
    triples = np.frombuffer(data, np.uint8).reshape(-1, 3).astype(np.int16)
    counts = np.empty((len(triples), 2), np.int16)
    counts[:, 0] = triples[:, 0] | (triples[:, 1] & 0x0F) << 8
    counts[:, 1] = triples[:, 2] | (triples[:, 1] & 0xF0) << 4
    return ((counts ^ 0x800) - 0x800).reshape(-1)


def decode_16(data: bytes) -> NDArray[np.int16]:
    """Decode little-endian 16-bit counts."""
    return np.frombuffer(data, np.dtype("<i2")).astype(np.int16, copy=False)


class LeadReader:
    """One lead of a record, read in chunks."""

    def __init__(self, record: Record, lead: int) -> None:
        """Check the file of samples against the header.

        Raises:
            DataError: If the file is missing or shorter than the header says.
        """
        self.record = record
        self.signal = record.signals[lead]
        # Signals that share a file are interleaved sample by sample.
        group = [s for s in record.signals if s.file == self.signal.file]
        self._width = len(group)
        self._column = sum(s.file == self.signal.file for s in record.signals[:lead])
        if any(
            (s.format, s.offset_bytes) != (self.signal.format, group[0].offset_bytes) for s in group
        ):
            raise DataError(str(record.path), f"'{self.signal.file}' mixes formats or offsets")
        self.path = record.path.parent / self.signal.file
        try:
            size = self.path.stat().st_size - self.signal.offset_bytes
        except OSError as error:
            raise DataError(str(self.path), f"cannot be read: {error.strerror}") from error
        per_frame = self._width * BYTES_PER_SAMPLE[self.signal.format]
        there = max(0, math.floor(size / per_frame))
        self.samples = there if record.samples is None else record.samples
        if there < self.samples:
            raise DataError(
                str(self.path),
                f"truncated: the header says {self.samples} samples a signal, {there} are there",
            )

    def chunks(self, samples: int) -> Iterator[Array]:
        """Yield the lead in physical units, float64, `samples` at a time; missing ones are NaN.

        Args:
            samples: Even, so that a chunk of format 212 ends on a whole pair.

        Raises:
            DataError: If the file ends or fails while it is read.
        """
        assert samples % 2 == 0, "an odd chunk may cut a pair of format 212"
        try:
            with self.path.open("rb") as file:
                file.seek(self.signal.offset_bytes)
                for start in range(0, self.samples, samples):
                    count = min(samples, self.samples - start)
                    yield self._physical(self._counts(file, count, start))
        except OSError as error:
            raise DataError(str(self.path), f"cannot be read: {error.strerror}") from error

    def _counts(self, file: IO[bytes], samples: int, start: int) -> Array:
        """Return the next counts of the lead, shape (samples,)."""
        expected = math.ceil(samples * self._width * BYTES_PER_SAMPLE[self.signal.format])
        data = file.read(expected)
        if len(data) != expected:
            raise DataError(str(self.path), f"truncated while it was read, near sample {start}")
        if self.signal.format == 212:
            # Only an odd number of samples, at the end of a file, leaves half a pair.
            counts = decode_212(data + bytes(-expected % 3))[: samples * self._width]
        else:
            counts = decode_16(data)
        return counts[self._column :: self._width]

    def _physical(self, counts: Array) -> Array:
        values = (counts.astype(np.float64) - self.signal.baseline) / self.signal.gain
        values[counts == INVALID[self.signal.format]] = np.nan
        return values
