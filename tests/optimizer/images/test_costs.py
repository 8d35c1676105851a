"""Tests of a model's counts and latency."""

from collections.abc import Callable

import numpy as np
import pytest
from onnx import helper

from headtail.errors import ExportError
from optimizer.images.config import BackboneConfig
from optimizer.images.costs import count_onnx, measure_latencies


def test_counts_by_hand(small_cnn: bytes) -> None:
    """Two convolutions with padding, a batch normalisation between, a dense layer of 6 x 5."""
    costs = count_onnx(small_cnn)
    macs = 64 * 4 * 27 + 16 * 6 * 36 + 30
    assert (macs, 2 * macs, len(small_cnn)) == (costs.macs, costs.flops, costs.onnx_bytes)


@pytest.mark.tf
def test_resnet8_has_the_operations_that_mlperf_tiny_states() -> None:
    """MLPerf Tiny's image classifier: 12,501,632 MACs, 77,850 weights once normalisations fold.

    Ours has 1 x 1 shortcuts at the same two places, and biases that folding brings.
    """
    from optimizer.images.backbone import build_classifier
    from optimizer.images.costs import count_costs

    config = BackboneConfig("SmallResNet", options={"blocks": 1, "width": 16})
    _, costs = count_costs(build_classifier(config, (32, 32, 3), 10))
    assert 12_501_632 == costs.macs
    assert pytest.approx(77_360, abs=500) == costs.parameters
    assert costs.onnx_bytes > 4 * costs.parameters


def test_latency_is_the_median_of_turns(onnx_model: Callable[..., bytes]) -> None:
    """With a clock of our own: the second model's third run is slow, its median is not."""
    relu = onnx_model([helper.make_node("Relu", ["x"], ["y"])], {"x": (1, 4)})
    # Before and after each run, the two models in turn.
    times = iter([0, 1, 1, 3, 3, 4, 4, 6, 6, 7, 7, 99])
    first, second = measure_latencies([relu, relu], rounds=3, clock=lambda: float(next(times)))
    assert (1.0, 1.0, 1.0, 3) == (first.median_s, first.low_s, first.high_s, first.runs)
    assert (2.0, 47.0) == (second.median_s, second.high_s)


def test_larger_model_takes_longer(onnx_model: Callable[..., bytes]) -> None:
    """A thousand times the multiplications, in the processor's own time."""
    import time

    def dense(width: int) -> bytes:
        node = helper.make_node("MatMul", ["x", "w"], ["y"])
        return onnx_model([node], {"x": (1, width)}, ("y",), {"w": np.ones((width, width))})

    small, large = measure_latencies([dense(64), dense(2048)], 5, clock=time.thread_time)
    assert small.median_s < large.median_s


def test_model_with_other_inputs_is_refused(onnx_model: Callable[..., bytes]) -> None:
    add = onnx_model([helper.make_node("Add", ["x", "z"], ["y"])], {"x": (1, 4), "z": (1, 4)})
    with pytest.raises(ExportError, match="expected one float32 input of known shape, received"):
        measure_latencies([add])
