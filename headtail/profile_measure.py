"""Measuring the layers of a profile kit on this machine with onnxruntime, one thread."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnxruntime as ort

from headtail.errors import DataError, HeadtailError
from headtail.profile_kit import Kit, KitLayer
from headtail.segment import SessionOptions, load_session
from headtail.tensor import Array

MIN_ROUNDS = 3
REPEATS = 5  # timed runs of a layer in one round, after one that is not
Advance = Callable[[float, float], None]
"""Called as (share done, seconds left)."""
Call = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Limits:
    """When measuring ends."""

    budget_s: float
    """Wall time after which no further round starts."""
    rounds: int
    """Rounds at most."""


@dataclass(frozen=True, slots=True)
class Timing:
    """CPU times of the kit's layers, each array of shape (layers,), in the kit's order."""

    run_s: Array
    """One call of `InferenceSession.run` on the layer alone, as the agent calls it: median."""
    layer_s: Array
    """The layer itself: what one more copy in the same call adds. Median over rounds."""
    spread: Array
    """Half of the interquartile range of `layer_s` over rounds, relative to its median."""
    rounds: int


@dataclass(frozen=True, slots=True)
class _Layer:
    """The calls that measure one layer."""

    run: Call
    bound_single: Call
    bound_multiple: Call
    copies: int


def measure_kit(
    kit: Kit,
    limits: Limits,
    rng: np.random.Generator,
    advance: Advance,
    clock: Callable[[], float] = time.thread_time,
    wall: Callable[[], float] = time.monotonic,
) -> Timing:
    """Run the kit's layers in rounds, in a new random order each, until the time is over.

    Every layer is visited in every round, so that a slower minute makes a slower round and not a
    slower layer.

    Args:
        kit: What to run.
        limits: When to end.
        rng: Draws the orders and the inputs.
        advance: Is told how far it is.
        clock: CPU time of this thread, which excludes time that other programs take.
        wall: Elapsed time.

    Raises:
        DataError: If a graph does not load or is not what the manifest says, or if the time is
            too short for three rounds.
    """
    began, budget_s = wall(), limits.budget_s
    layers = [_load(kit, layer, rng) for layer in kit.manifest.layers]
    runs: list[Array] = []
    slopes: list[Array] = []
    while True:
        times = np.zeros((len(layers), 2))
        for done, index in enumerate(rng.permutation(len(layers)), start=1):
            times[index] = _visit(layers[index], clock)
            elapsed = wall() - began
            share = (len(runs) + done / len(layers)) / MIN_ROUNDS
            if elapsed > budget_s and len(runs) < MIN_ROUNDS:
                needed = elapsed / share
                raise DataError(
                    "profile",
                    f"expected time for {MIN_ROUNDS} rounds of {len(layers)} layers, received"
                    f" {budget_s:g} s; about {needed:.0f} s are needed",
                )
            done_ratio = max(elapsed / budget_s, share * MIN_ROUNDS / limits.rounds)
            left_s = elapsed / done_ratio - elapsed
            advance(min(done_ratio, 1.0), max(left_s, 0.0))
        runs.append(times[:, 0])
        slopes.append(times[:, 1])
        if len(runs) >= limits.rounds:
            break
        # The next round takes about as long as those before it.
        if len(runs) >= MIN_ROUNDS and (wall() - began) * (1 + 1 / len(runs)) > budget_s:
            break
    low, median, high = np.percentile(slopes, (25, 50, 75), axis=0)
    _check_positive(kit, median)
    return Timing(np.median(runs, axis=0), median, (high - low) / 2 / median, len(runs))


def _visit(layer: _Layer, clock: Callable[[], float]) -> tuple[float, float]:
    """Return the time of a call and what one more copy adds, each from medians of repeats."""
    run, single, multiple = (
        _median_s(call, clock) for call in (layer.run, layer.bound_single, layer.bound_multiple)
    )
    return run, (multiple - single) / (layer.copies - 1)


def _median_s(call: Call, clock: Callable[[], float]) -> float:
    call()
    times = []
    for _ in range(REPEATS):
        before = clock()
        call()
        times.append(clock() - before)
    return float(np.median(times))


def _load(kit: Kit, layer: KitLayer, rng: np.random.Generator) -> _Layer:
    x = rng.standard_normal(layer.shape.input_shape).astype(np.float32)
    single, multiple = (
        _session(kit.contents[member.path], layer, copies)
        for member, copies in ((layer.single, 1), (layer.multiple, layer.copies))
    )
    outputs, inputs = [o.name for o in single.get_outputs()], {single.get_inputs()[0].name: x}
    return _Layer(
        lambda: single.run(outputs, inputs), _bound(single, x), _bound(multiple, x), layer.copies
    )


def _session(content: bytes, layer: KitLayer, copies: int) -> ort.InferenceSession:
    where = f"profile kit layer '{layer.name}'"
    try:
        session = load_session(content, SessionOptions(), where)
    except HeadtailError as error:
        raise DataError(where, f"cannot be loaded: {error}") from error
    taken = [(t.type, t.shape) for t in session.get_inputs()]
    given = [(t.type, t.shape) for t in session.get_outputs()]
    shape = layer.shape
    expected = [("tensor(float)", list(shape.output_shape))] * copies
    if taken != [("tensor(float)", list(shape.input_shape))] or given != expected:
        raise DataError(
            where,
            f"expected float32 {shape.input_shape} -> {copies} x {shape.output_shape}, received"
            f" {taken[:2]} -> {len(given)} outputs, first {given[:1]}",
        )
    return session


def _bound(session: ort.InferenceSession, x: Array) -> Call:
    """Return a call whose tensors stay where they are, so that outputs cost no Python objects."""
    binding = session.io_binding()
    binding.bind_cpu_input(session.get_inputs()[0].name, x)
    for output in session.get_outputs():
        value = ort.OrtValue.ortvalue_from_shape_and_type(output.shape, np.float32, "cpu", 0)
        binding.bind_ortvalue_output(output.name, value)

    def call() -> None:
        try:
            session.run_with_iobinding(binding)
        except Exception as error:  # onnxruntime's own errors have no common class
            raise DataError("profile kit", f"onnxruntime cannot run it: {error}") from error

    return call


def _check_positive(kit: Kit, seconds: Array) -> None:
    for layer, value in zip(kit.manifest.layers, seconds, strict=True):
        if value <= 0:
            raise DataError(
                f"profile layer '{layer.name}'",
                "expected more copies to take longer, but the machine is too busy or its clock too"
                " coarse to see it; give it more time",
            )
