"""Int8 after training, by onnxruntime's own quantiser: the only module that knows it."""

import logging
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from headtail.errors import ExportError
from headtail.tensor import Array


class _Reader(CalibrationDataReader):
    """Hands batches to the quantiser, one after the other."""

    def __init__(self, name: str, batches: Iterable[Array]) -> None:
        self._name, self._batches = name, iter(batches)

    def get_next(self) -> dict[str, Array] | None:
        """Return the next batch by the input's name; None behind the last."""
        batch = next(self._batches, None)
        return None if batch is None else {self._name: batch}


def quantise(content: bytes, batches: Iterable[Array]) -> bytes:
    """Return an ONNX model with weights and activations in int8.

    Static, with QDQ nodes; weights symmetric by channel, activations asymmetric with the smallest
    and largest value that the batches give.

    Args:
        content: A float32 model of one input.
        batches: Inputs of that model, float32.

    Raises:
        ExportError: If the quantiser cannot convert it.
    """
    name = onnx.load_model_from_string(content).graph.input[0].name
    try:
        with tempfile.TemporaryDirectory() as folder, _silence():
            given, ready, done = (Path(folder) / f"{n}.onnx" for n in ("given", "ready", "done"))
            given.write_bytes(content)
            quant_pre_process(str(given), str(ready), skip_symbolic_shape=True)  # that needs SymPy
            quantize_static(
                str(ready),
                str(done),
                _Reader(name, (np.asarray(b, np.float32) for b in batches)),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=CalibrationMethod.MinMax,
            )
            return done.read_bytes()
    except (ValueError, RuntimeError) as error:
        raise ExportError("quantisation to int8", str(error).splitlines()[0]) from error


def int8_weights(content: bytes) -> tuple[str, ...]:
    """Return the names of a model's weights that are int8; scales and zero points are none."""
    weights = onnx.load_model_from_string(content).graph.initializer
    kind = onnx.TensorProto.INT8
    return tuple(t.name for t in weights if t.data_type == kind and len(t.dims) > 1)


@contextmanager
def _silence() -> Iterator[None]:
    """Keep the quantiser's advice, which it logs as warnings, off the terminal."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
