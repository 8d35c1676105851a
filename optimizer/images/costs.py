"""What a model costs to store and to run: size, parameters, operations, latency in onnxruntime."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import keras
import numpy as np

from headtail.errors import ExportError
from headtail.segment import SessionOptions, load_session
from optimizer.cut.count import count_operations
from optimizer.cut.graph import read_graph
from optimizer.keras_onnx import export_keras

ROUNDS = 30
WARM_UP = 3


@dataclass(frozen=True, slots=True)
class ModelCosts:
    """Counts of an exported model for one image."""

    onnx_bytes: int
    """Size of the ONNX file."""
    parameters: int
    """Weights in it; batch normalisations that were folded have none."""
    macs: int

    @property
    def flops(self) -> int:
        """Floating-point operations: a multiplication and an addition per MAC."""
        return 2 * self.macs


@dataclass(frozen=True, slots=True)
class Latency:
    """Measured time of one inference, batch 1, in seconds."""

    median_s: float
    low_s: float
    """First quartile."""
    high_s: float
    """Third quartile."""
    runs: int


def count_costs(model: keras.Model) -> tuple[bytes, ModelCosts]:
    """Export a model; return the ONNX graph and what it costs.

    Raises:
        ExportError: If it cannot be exported.
    """
    content = export_keras(model)
    return content, count_onnx(content)


def count_onnx(content: bytes) -> ModelCosts:
    """Return what an ONNX graph costs for one window.

    Raises:
        ExportError: If it is no ONNX model.
    """
    graph = read_graph(content)
    counted = count_operations(graph, graph.nodes)
    return ModelCosts(len(content), counted.parameters, counted.macs)


def measure_latencies(
    contents: Sequence[bytes],
    rounds: int = ROUNDS,
    threads: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[Latency, ...]:
    """Return the latency of each model, batch 1, on random pixels.

    The models take turns, so that a slower minute makes a slower round and not a slower model.

    Args:
        contents: ONNX graphs with one float32 input.
        rounds: Timed runs of each.
        threads: Threads of one operator.
        clock: Seconds; with one thread `time.thread_time` leaves out what other programs take.

    Raises:
        ExportError: If a graph has not one float32 input of known shape.
    """
    rng = np.random.default_rng(0)
    calls = [_prepare(content, threads, rng) for content in contents]
    for call in calls * WARM_UP:
        call()
    times = np.empty((len(calls), rounds))
    for i in range(rounds):
        for j, call in enumerate(calls):
            began = clock()
            call()
            times[j, i] = clock() - began
    quartiles = np.percentile(times, (25, 50, 75), axis=1).T
    return tuple(Latency(float(m), float(lo), float(hi), rounds) for lo, m, hi in quartiles)


def _prepare(content: bytes, threads: int, rng: np.random.Generator) -> Callable[[], object]:
    session = load_session(content, SessionOptions(threads=threads), "model")
    inputs = session.get_inputs()
    shape = [1, *inputs[0].shape[1:]]
    if (
        len(inputs) != 1
        or inputs[0].type != "tensor(float)"
        or not all(isinstance(n, int) for n in shape)
    ):
        taken = [(i.type, i.shape) for i in inputs]
        raise ExportError("model", f"expected one float32 input of known shape, received {taken}")
    feed = {inputs[0].name: rng.random(shape, np.float32)}
    return lambda: session.run(None, feed)
