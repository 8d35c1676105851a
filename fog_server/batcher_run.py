"""One run for several requests: their windows put together, and the outputs taken apart again."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from fog_server.tail import Tail
from headtail.errors import RemoteFailed
from headtail.tensor import Array


class Ran(NamedTuple):
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
        together = _run(tail, _joined(activations), clock_ns)
        if not isinstance(together.outcome, Exception):
            return _parts(together, [tail.windows(a) for a in activations])
    return [_run(tail, activation, clock_ns) for activation in activations]


def _run(tail: Tail, activation: Mapping[str, Array], clock_ns: Callable[[], int]) -> Ran:
    windows, started = tail.windows(activation), clock_ns()
    outcome: Mapping[str, Array] | Exception
    try:
        outcome = tail.run(activation)
        _check_rows(tail, outcome, windows)
    except Exception as error:  # noqa: BLE001 - whatever onnxruntime raises is its request's answer
        outcome = error
    return Ran(outcome, started, clock_ns() - started, windows)


def _joined(activations: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
    return {name: np.concatenate([a[name] for a in activations]) for name in activations[0]}


def _parts(together: Ran, windows: Sequence[int]) -> list[Ran]:
    """Return each request's rows of what ran together."""
    assert not isinstance(together.outcome, Exception), "it ran"
    parts, first = [], 0
    for number in windows:
        rows = slice(first, first + number)
        outputs = {name: array[rows] for name, array in together.outcome.items()}
        parts.append(together._replace(outcome=outputs, leads=first == 0))
        first += number
    return parts


def _check_rows(tail: Tail, outputs: Mapping[str, Array], windows: int) -> None:
    """Raise unless each output has a row for each window, where the model says it does."""
    for name, array in outputs.items():
        if tail.is_batchable and len(array) != windows:
            text = (
                f"output '{name}' of '{tail.name}': expected {windows} rows, received {len(array)}"
            )
            raise RemoteFailed("fog", text)
