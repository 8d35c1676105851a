"""Windows from an .npz file, read row by row: neither the file nor a pickle is ever loaded."""

import math
import tokenize
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO

import numpy as np

from edge_agent.sources.frame import BEGINNING, Frame, Start
from edge_agent.sources.intake import Intake
from headtail.errors import DataError
from headtail.tensor import Array
from headtail.zip_errors import ZIP_ERRORS

MAX_WINDOW_BYTES = 64 << 20
LABELS = "y"
SKIPPED_ROWS = 16
"""Read at a time where a run continues another."""


class Rows:
    """One array of an .npz, read along its first axis."""

    def __init__(self, file: IO[bytes], where: str) -> None:
        """Read the .npy header.

        Raises:
            DataError: If it is no .npy, holds objects, has no first axis or absurdly large rows.
        """
        self._file = file
        self._where = where
        try:
            version = np.lib.format.read_magic(file)
            if version == (1, 0):
                header = np.lib.format.read_array_header_1_0(file)
            elif version == (2, 0):
                header = np.lib.format.read_array_header_2_0(file)
            else:
                raise ValueError(f"format version {version}")
        except (*ZIP_ERRORS, SyntaxError, tokenize.TokenError) as error:
            raise DataError(where, f"no readable array: {str(error).splitlines()[0]}") from error
        shape, is_fortran, dtype = header
        if dtype.hasobject or dtype.kind not in "biuf":
            raise DataError(where, f"expected numbers, received dtype {dtype}")
        if not shape:
            raise DataError(where, "expected windows along the first axis, received one number")
        if is_fortran and len(shape) > 1:
            raise DataError(where, "expected row-major order; save np.ascontiguousarray of it")
        self.count = int(shape[0])
        self.shape = tuple(shape[1:])
        self.dtype = dtype
        self._row_bytes = math.prod(self.shape) * dtype.itemsize
        if not 0 < self._row_bytes <= MAX_WINDOW_BYTES:
            raise DataError(
                where,
                f"expected windows of 1 to {MAX_WINDOW_BYTES} bytes, received shape {self.shape}",
            )
        self._next = 0

    def read(self, count: int) -> Array:
        """Return the next rows, at most `count`; shape (n, ...), n is 0 at the end.

        Raises:
            DataError: If the file ends early or is corrupt.
        """
        count = min(count, self.count - self._next)
        try:
            data = self._file.read(count * self._row_bytes)
        except (*ZIP_ERRORS, OSError) as error:
            raise DataError(f"{self._where} row {self._next}", f"corrupt: {error}") from error
        if len(data) != count * self._row_bytes:
            row = self._next + len(data) // self._row_bytes
            raise DataError(
                f"{self._where} row {row}", f"the file ends here; its header says {self.count} rows"
            )
        self._next += count
        array: Array = np.frombuffer(data, self.dtype).reshape(count, *self.shape)
        return array.astype(self.dtype.newbyteorder("="), copy=False)


class NpzSource:
    """Frames from array `x` (or arrays named for the model's inputs), labels from `y`."""

    def __init__(self, path: Path, intake: Intake) -> None:
        """Open the file and check its arrays' headers.

        Raises:
            DataError: If the file or an array is missing, malformed or of another length.
        """
        self._path = path
        self._intake = intake
        self._start = BEGINNING
        self._files = ExitStack()
        try:
            self._archive = self._files.enter_context(zipfile.ZipFile(path))
        except OSError as error:
            raise DataError(str(path), f"cannot be read: {error.strerror or error}") from error
        except ZIP_ERRORS as error:
            raise DataError(str(path), f"no readable .npz: {error}") from error
        try:
            self._arrays = self._open_arrays()
        except DataError:
            self.close()
            raise

    def _open_arrays(self) -> Mapping[str, Rows]:
        found = [n.removesuffix(".npy") for n in self._archive.namelist()]
        wanted = self._intake.array_names(found, str(self._path))
        arrays = {name: self._open_rows(name) for name in (*wanted, LABELS) if name in found}
        counts = {name: rows.count for name, rows in arrays.items()}
        if len(set(counts.values())) != 1:
            raise DataError(str(self._path), f"arrays of different lengths: {counts}")
        labels = arrays.get(LABELS)
        if labels is not None and (labels.shape or labels.dtype.kind not in "iu"):
            raise DataError(
                f"{self._path} array 'y'",
                f"expected one whole number a window, received {labels.dtype} of {labels.shape}",
            )
        return arrays

    def _open_rows(self, name: str) -> Rows:
        where = f"{self._path} array '{name}'"
        try:
            file = self._files.enter_context(self._archive.open(f"{name}.npy"))
        except (*ZIP_ERRORS, OSError) as error:
            raise DataError(where, f"cannot be opened: {error}") from error
        return Rows(file, where)

    is_replayed = True

    @property
    def identity(self) -> str:
        """The file, and the checksum and size of each array in it."""
        infos = [self._archive.getinfo(f"{name}.npy") for name in sorted(self._arrays)]
        sums = [f"{info.filename} {info.CRC:08x} {info.file_size}" for info in infos]
        return f"npz:{self._path.resolve()} {' '.join(sums)}"

    def resume(self, start: Start) -> None:
        """Go on with the row after a position: the rows before it are read and left out."""
        self._start = start

    def batches(self, limit: int) -> Iterator[Sequence[Frame]]:
        """Yield frames, `limit` at a time: all of them are there already."""
        sequence, sample = self._start.sequence, self._skip(self._start.sample + 1)
        while True:
            rows = {name: array.read(limit) for name, array in self._arrays.items()}
            labels = rows.pop(LABELS, None)
            count = len(next(iter(rows.values())))
            if count == 0:
                return
            yield [
                Frame(
                    sequence=sequence + i,
                    sample=sample + i,
                    tensors=self._intake.prepare(
                        {name: array[i] for name, array in rows.items()},
                        f"{self._path} row {sample + i}",
                    ),
                    truth=None if labels is None else int(labels[i]),
                )
                for i in range(count)
            ]
            sequence += count
            sample += count

    def _skip(self, count: int) -> int:
        """Read `count` rows, or all there are, and return how many."""
        for array in self._arrays.values():
            for done in range(0, count, SKIPPED_ROWS):
                array.read(min(SKIPPED_ROWS, count - done))
        return count

    def close(self) -> None:
        """Close the file and what was opened in it."""
        self._files.close()
