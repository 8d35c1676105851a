"""Windows from standard input, one JSON value a line.

A line is an array (the model's only input) or an object of arrays by input name, `x` for the only
one, and optionally `y`, the index of the true label. Empty lines are left out.
"""

import os
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import numpy as np

from edge_agent.sources.frame import BEGINNING, Frame, Start
from edge_agent.sources.intake import ONLY_INPUT, Intake
from edge_agent.stop import Stop
from headtail.errors import DataError
from headtail.tensor import Array

MAX_LINE_BYTES = 16 << 20
_READ_BYTES = 1 << 16
TRUTH = "y"
_decode = msgspec.json.Decoder().decode


class StdinSource:
    """Frames of the lines of a file descriptor."""

    def __init__(self, descriptor: int, intake: Intake, stop: Stop) -> None:
        self._descriptor = descriptor
        self._intake = intake
        self._stop = stop
        self._start = BEGINNING

    identity = "stdin"
    is_replayed = False

    def resume(self, start: Start) -> None:
        """Number the windows from there; the lines are those that come."""
        self._start = start

    def batches(self, limit: int) -> Iterator[Sequence[Frame]]:
        """Yield the frames of the lines that have arrived, as soon as one is complete."""
        sequence = self._start.sequence
        batch: list[Frame] = []
        for number, line, is_last in self._lines():
            if line.strip():
                batch.append(self._frame(line, number, sequence))
                sequence += 1
            if batch and (is_last or len(batch) == limit):
                yield batch
                batch = []

    def close(self) -> None:
        """Nothing is held between batches."""

    def _lines(self) -> Iterator[tuple[int, bytes, bool]]:
        """Yield each line's number from 1, its bytes, and whether no other has arrived yet."""
        number = 0
        rest = b""
        while self._stop.wait_readable(self._descriptor):
            data = os.read(self._descriptor, _READ_BYTES)
            *lines, rest = (rest + data).split(b"\n")
            if len(rest) > MAX_LINE_BYTES:
                raise DataError(
                    f"stdin line {number + len(lines) + 1}", f"over {MAX_LINE_BYTES} bytes"
                )
            if not data:
                lines = [rest]
            for i, line in enumerate(lines):
                number += 1
                yield number, line, i == len(lines) - 1
            if not data:
                return

    def _frame(self, line: bytes, number: int, sequence: int) -> Frame:
        where = f"stdin line {number}"
        try:
            value = _decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise DataError(where, f"no JSON: {error}") from error
        if isinstance(value, list):
            tensors = self._intake.accept_numbers(value)
            if tensors is not None:
                return Frame(sequence, number, tensors)
        named = value if isinstance(value, dict) else {ONLY_INPUT: value}
        truth = named.pop(TRUTH, None)
        if truth is not None and not isinstance(truth, int):
            raise DataError(where, "'y' must be the index of a label")
        arrays = {name: _to_array(item, f"{where} '{name}'") for name, item in named.items()}
        return Frame(sequence, number, self._intake.prepare(arrays, where), truth)


def _to_array(value: Any, where: str) -> Array:
    try:
        array = np.asarray(value)
    except (ValueError, OverflowError) as error:
        raise DataError(where, "expected an array of numbers with equal rows") from error
    if array.dtype.kind not in "biuf":
        raise DataError(where, "expected an array of numbers")
    return array
