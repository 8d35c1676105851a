"""One run for several requests: their windows put together, and the outputs taken apart again."""

import time
from collections.abc import Callable, Mapping, Sequence

import msgspec
import numpy as np

from fog_server.tail import Tail
from headtail.errors import RemoteFailed
from headtail.tensor import Array


class Ran(msgspec.Struct):
    """What became of one request of a batch."""

    outcome: Mapping[str, Array] | Exception
    """Its outputs by name, or why there are none."""
    started_ns: int
    compute_ns: int
    """How long the run took that it was part of."""
    windows: int
    """Windows of that run, its own and others'."""
    leads: bool = True
    """Whether it is the first of that run."""


def run_batch(
    tail: Tail,
    activations: Sequence[Mapping[str, Array]],
    clock_ns: Callable[[], int] = time.perf_counter_ns,
) -> list[Ran]:
    """Run a tail on the activations of several requests, once if that can be done.

    Where it fails every request is run alone: one agent's windows must not fail another's.

    Args:
        tail: With a batch dimension, if there is more than one request.
        activations: Of each request, by name, shape (windows, ...) each.
        clock_ns: In nanoseconds.
    """
    if len(activations) > 1:
        windows = [tail.windows(activation) for activation in activations]
        try:
            joined = _joined(activations)
        except MemoryError:
            joined = None
        if joined is not None:
            together = run_alone(tail, joined, sum(windows), clock_ns)
            if not isinstance(together.outcome, Exception):
                return _parts(together, together.outcome, windows)
    return [run_alone(tail, one, tail.windows(one), clock_ns) for one in activations]


def run_alone(
    tail: Tail, activation: Mapping[str, Array], windows: int, clock_ns: Callable[[], int]
) -> Ran:
    """Run a tail on an activation of so many windows, as `run_batch` does."""
    started = clock_ns()
    outcome: Mapping[str, Array] | Exception
    try:
        outcome = tail.run(activation)
        if tail.is_batchable:
            for name, array in outcome.items():
                if len(array) != windows:
                    raise _wrong_rows(tail, name, windows, len(array))
    except Exception as error:  # noqa: BLE001 - whatever onnxruntime raises is its request's answer
        outcome = error
    return Ran(outcome, started, clock_ns() - started, windows)


def _joined(activations: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
    return {name: np.concatenate([a[name] for a in activations]) for name in activations[0]}


def _parts(together: Ran, outputs: Mapping[str, Array], windows: Sequence[int]) -> list[Ran]:
    """Return each request's rows of what ran together."""
    parts, first = [], 0
    started_ns, compute_ns, total = together.started_ns, together.compute_ns, together.windows
    for number in windows:
        stop = first + number
        rows = {name: array[first:stop] for name, array in outputs.items()}
        parts.append(Ran(rows, started_ns, compute_ns, total, not first))
        first = stop
    return parts


def _wrong_rows(tail: Tail, name: str, expected: int, received: int) -> RemoteFailed:
    """Return the error of an output that has not a row for each window."""
    text = f"output '{name}' of '{tail.name}': expected {expected} rows, received {received}"
    return RemoteFailed("fog", text)
