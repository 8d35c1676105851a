"""A tail as a model of Triton's Python backend; runs in Triton's environment, never in ours.

Requests that Triton's batcher hands over together run as one batch.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import triton_python_backend_utils as pb_utils  # part of Triton


class TritonPythonModel:
    """What the backend calls."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the graph beside this file."""
        folder = Path(args["model_repository"]) / args["model_version"]
        config = json.loads(args["model_config"])
        self._inputs = [tensor["name"] for tensor in config["input"]]
        self._outputs = [tensor["name"] for tensor in config["output"]]
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self._session = ort.InferenceSession(
            str(folder / "tail.onnx"), options, providers=["CPUExecutionProvider"]
        )

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer requests, in order."""
        taken = [
            [pb_utils.get_input_tensor_by_name(request, name).as_numpy() for name in self._inputs]
            for request in requests
        ]
        if len(requests) == 1:
            return [self._respond(self._run(taken[0]))]
        ends = np.cumsum([arrays[0].shape[0] for arrays in taken])[:-1]
        together = [np.concatenate(arrays) for arrays in zip(*taken, strict=True)]
        parts = [np.split(array, ends) for array in self._run(together)]
        return [self._respond(arrays) for arrays in zip(*parts, strict=True)]

    def _run(self, arrays: Any) -> Any:
        return self._session.run(self._outputs, dict(zip(self._inputs, arrays, strict=True)))

    def _respond(self, arrays: Any) -> Any:
        tensors = [pb_utils.Tensor(n, a) for n, a in zip(self._outputs, arrays, strict=True)]
        return pb_utils.InferenceResponse(tensors)
