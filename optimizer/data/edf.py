"""The two channels of a CHB-MIT recording: found by their electrodes, read in stretches."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
import pyedflib

from headtail.errors import DataError
from headtail.tensor import Array

CHANNELS = (("F7", "T7"), ("F8", "T8"))
RATE_HZ = 256.0
# Four hours of the database's 38 channels have 280 MB.
MAX_EDF_BYTES = 512 << 20
MAX_CHANNELS = 512
# The temporal electrodes as they were named before 1991 (American EEG Society).
_OLD_NAMES = {"T3": "T7", "T4": "T8"}

Terms = tuple[tuple[int, int], ...]
"""A channel as a sum of signals: number in the file and sign."""


@dataclass(frozen=True, slots=True)
class Montage:
    """Where the two channels are in one file."""

    channels: tuple[Terms, ...]


def find_montage(labels: Sequence[str]) -> Montage | None:
    """Return how to make F7-T7 and F8-T8 from the signals of a file, None if that cannot be.

    A channel may be there as such, the other way round, under the electrodes' old names, or as the
    difference of two electrodes against one reference ("F7-CS2" and "T7-CS2"). Of signals with the
    same label the first counts.
    """
    pairs = [_electrodes(label) for label in labels]
    found = [_find(pairs, *channel) for channel in CHANNELS]
    return None if None in found else Montage(tuple(terms for terms in found if terms))


class EdfRecording:
    """One open EDF file; a context manager."""

    def __init__(self, path: Path) -> None:
        """Open a file and find its channels.

        Raises:
            DataError: If it is missing, too large, no EDF, truncated or of another rate; names it.
        """
        self.path = path
        try:
            size = path.stat().st_size
        except OSError as error:
            raise DataError(str(path), f"cannot be read: {error.strerror}") from error
        if size > MAX_EDF_BYTES:
            raise DataError(str(path), f"expected at most {MAX_EDF_BYTES} bytes, received {size}")
        try:
            self._reader = pyedflib.EdfReader(
                str(path), pyedflib.DO_NOT_READ_ANNOTATIONS, pyedflib.CHECK_FILE_SIZE
            )
        except (OSError, ValueError) as error:
            raise self._unreadable(error) from error
        try:
            self.montage, self.samples = self._check()
        except BaseException:
            self._reader.close()
            raise

    def _check(self) -> tuple[Montage | None, int]:
        if self._reader.signals_in_file > MAX_CHANNELS:
            raise DataError(str(self.path), f"expected at most {MAX_CHANNELS} signals")
        try:
            montage = find_montage(self._reader.getSignalLabels())
        except UnicodeDecodeError as error:
            raise self._unreadable(error) from error
        if montage is None:
            return None, 0
        used = sorted({number for terms in montage.channels for number, _ in terms})
        rates = {float(self._reader.getSampleFrequency(number)) for number in used}
        if rates != {RATE_HZ}:
            received = ", ".join(f"{rate:g}" for rate in sorted(rates))
            raise DataError(str(self.path), f"expected {RATE_HZ:g} Hz, received {received}")
        return montage, int(min(self._reader.getNSamples()[number] for number in used))

    def read(self, start: int, count: int) -> Array:
        """Return samples [start, start + count) of both channels, (count, 2), float32, microvolts.

        Raises:
            DataError: If the file cannot be read there.
        """
        assert self.montage is not None, "the caller checks that the channels are there"
        assert 0 <= start <= self.samples - count, "the caller keeps to the recording"
        out = np.zeros((count, len(self.montage.channels)))
        for column, terms in enumerate(self.montage.channels):
            for number, sign in terms:
                try:
                    values = self._reader.readSignal(number, start, count)
                except (OSError, ValueError) as error:
                    raise self._unreadable(error) from error
                if len(values) != count or not np.isfinite(values).all():
                    raise DataError(str(self.path), f"no whole samples from {start} on")
                out[:, column] += sign * values
        return out.astype(np.float32)

    def _unreadable(self, error: Exception) -> DataError:
        reason = (str(error) or type(error).__name__).replace(f"{self.path}: ", "").splitlines()[0]
        return DataError(str(self.path), f"cannot be read as EDF: {reason}")

    def __enter__(self) -> "EdfRecording":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._reader.close()


def _electrodes(label: str) -> tuple[str, str]:
    """Return the two electrodes of a label, the second one "" where there is none."""
    first, _, second = "".join(label.upper().split()).removeprefix("EEG").partition("-")
    return _OLD_NAMES.get(first, first), _OLD_NAMES.get(second, second)


def _find(pairs: Sequence[tuple[str, str]], plus: str, minus: str) -> Terms | None:
    if (plus, minus) in pairs:
        return ((pairs.index((plus, minus)), 1),)
    if (minus, plus) in pairs:
        return ((pairs.index((minus, plus)), -1),)
    for number, (electrode, reference) in enumerate(pairs):
        if electrode == plus and (minus, reference) in pairs:
            return ((number, 1), (pairs.index((minus, reference)), -1))
    return None
