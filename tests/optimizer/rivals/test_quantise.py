"""Tests of int8 after training, against onnxruntime's quantiser called directly."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from headtail.errors import ExportError
from optimizer.rivals.quantise import int8_weights, quantise


def run(content: bytes, x: np.ndarray) -> np.ndarray:
    """Return a model's output in onnxruntime."""
    session = ort.InferenceSession(content, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


def batches() -> list[np.ndarray]:
    """Return three batches for the calibration."""
    rng = np.random.default_rng(2)
    return [rng.standard_normal((4, 3, 8, 8)).astype(np.float32) for _ in range(3)]


def test_equals_the_quantiser_called_directly(small_cnn: bytes, tmp_path: Path) -> None:
    """Static QDQ, int8 weights by channel, uint8 activations: the same outputs bit by bit."""
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.left = batches()

        def get_next(self) -> dict[str, np.ndarray] | None:
            return {"x": self.left.pop(0)} if self.left else None

    given, ready, done = (str(tmp_path / f"{n}.onnx") for n in "abc")
    Path(given).write_bytes(small_cnn)
    quant_pre_process(given, ready, skip_symbolic_shape=True)
    quantize_static(
        ready, done, Reader(), per_channel=True, activation_type=QuantType.QUInt8
    )  # fmt: skip
    content = quantise(small_cnn, batches())
    x = np.concatenate(batches())
    expected = run(Path(done).read_bytes(), x)
    np.testing.assert_array_equal(run(content, x), expected)
    assert np.abs(expected - run(small_cnn, x)).max() < 0.1
    assert (expected != run(small_cnn, x)).any()


def test_weights_are_int8(small_cnn: bytes) -> None:
    """Those of the convolutions and of the dense layer, each within half a step."""
    content = quantise(small_cnn, batches())
    assert len(int8_weights(content)) == 3
    assert int8_weights(small_cnn) == ()
    tensors = {
        t.name: onnx.numpy_helper.to_array(t)
        for t in onnx.load_from_string(content).graph.initializer
    }
    (name,) = (n for n in int8_weights(content) if n.startswith("w1"))
    scale = tensors[name.replace("quantized", "scale")].reshape(-1, 1, 1, 1)
    original = next(t for t in onnx.load_from_string(small_cnn).graph.initializer if t.name == "w1")
    error = np.abs(tensors[name] * scale - onnx.numpy_helper.to_array(original))
    assert (error <= scale / 2 * 1.001).all()


def test_without_images_is_one_line(small_cnn: bytes) -> None:
    with pytest.raises(ExportError, match="quantisation to int8"):
        quantise(small_cnn, [])
