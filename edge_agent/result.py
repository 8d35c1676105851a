"""What the agent knows about one window when it is done, and the line it becomes."""

from collections.abc import Sequence
from typing import Literal

import msgspec

Where = Literal["fog", "edge"]
FAILED = "failed"
"""`Result.fallback` of a window whose fog gave no answer, or none of use."""


class Result(msgspec.Struct, frozen=True):
    """One classified window; times in seconds, energies modelled."""

    sequence: int
    """Number of the window; no other in the sink has it."""
    sample: int
    """Position in the source: R-peak sample, row, file or line number."""
    label: str | None
    """Label of the largest value; None where the manifest names no labels for it."""
    output: list[float]
    """The model's first output, flat."""
    where: Where
    partition_point: int
    encoding: str
    latency_s: float
    """From the window's arrival to its outputs."""
    head_s: float
    tail_s: float
    """Time of the tail as whoever ran it measured it."""
    network_s: float | None
    """Round trip without the fog's queue and tail; None where no reply came."""
    queue_s: float | None
    """Time in the fog's queue; None where no reply came."""
    tx_bytes: int
    compute_j: float | None
    """None where no device profile is named."""
    tx_j: float | None
    fallback: str | None = None
    """Why the window was finished on the edge; None where it was meant to end where it did."""
    truth: int | None = None
    """The label's index as the source gives it, where it does."""
    bundle: str = ""
    """Digest of the bundle that answered, where it is not the one that the agent runs."""
    compression: str = ""
    """Of the activation as it travelled; empty: none."""
    predicted_s: float | None = None
    """Latency that was predicted; None where the partition point is fixed."""
    predicted_j: float | None = None
    """Energy of the edge that was predicted; None also where no profile prices it."""


class _Energy(msgspec.Struct):
    compute: float | None
    tx: float | None


class _Line(msgspec.Struct):
    """One line of a sink; the names and their order are its format."""

    sequence: int
    label: str | None
    output: list[float]
    where: str
    partition_point: int
    encoding: str
    latency_s: float
    head_s: float
    tail_s: float
    tx_bytes: int
    energy_j: _Energy
    bundle: str
    sample: int


_encoder = msgspec.json.Encoder()
# Of a line without its outputs and label, and of a value with its comma; both with room to spare.
_LINE_BYTES, _VALUE_BYTES, _CHARACTER_BYTES = 700, 26, 6


def encode_lines(results: Sequence[Result], bundle: str) -> bytes:
    """Return the JSON lines of results, each with its newline.

    Args:
        results: What to write; NaN and infinity become null.
        bundle: Digest of the bundle that the agent runs.
    """
    return _encoder.encode_lines([_line(result, bundle) for result in results])


def most_bytes(results: Sequence[Result]) -> int:
    """Return what the lines of results take at most, in bytes."""
    return sum(
        _LINE_BYTES + _VALUE_BYTES * len(r.output) + _CHARACTER_BYTES * len(r.label or "")
        for r in results
    )


def _line(result: Result, bundle: str) -> _Line:
    return _Line(
        sequence=result.sequence,
        label=result.label,
        output=result.output,
        where=result.where,
        partition_point=result.partition_point,
        encoding=result.encoding,
        latency_s=result.latency_s,
        head_s=result.head_s,
        tail_s=result.tail_s,
        tx_bytes=result.tx_bytes,
        energy_j=_Energy(result.compute_j, result.tx_j),
        bundle=result.bundle or bundle,
        sample=result.sample,
    )
