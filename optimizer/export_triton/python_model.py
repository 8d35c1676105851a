"""A tail as a model of Triton's Python backend: onnxruntime runs the graph beside this file.

This file is copied into the model repository. It runs inside Triton, which brings
`triton_python_backend_utils`; onnxruntime and NumPy have to be in its environment. Requests that
Triton's batcher hands over together run as one batch.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """What the backend makes of each instance, and calls."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the graph of the version that is asked for."""
        config = json.loads(args["model_config"])
        self._inputs = [tensor["name"] for tensor in config["input"]]
        self._outputs = [tensor["name"] for tensor in config["output"]]
        threads = config["parameters"].get("intra_op_thread_count", {"string_value": "1"})
        options = ort.SessionOptions()
        options.intra_op_num_threads = int(threads["string_value"])
        options.inter_op_num_threads = 1
        # A spinning pool burns a core per instance while nothing arrives.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        graph = Path(args["model_repository"]) / args["model_version"] / "model.onnx"
        self._session = ort.InferenceSession(
            str(graph), options, providers=["CPUExecutionProvider"]
        )

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answer requests, in order; with several of them the first axis is the batch's."""
        taken = [
            [pb_utils.get_input_tensor_by_name(request, name).as_numpy() for name in self._inputs]
            for request in requests
        ]
        if len(requests) == 1:
            return [self._response(self._run(taken[0]))]
        ends = np.cumsum([len(arrays[0]) for arrays in taken])[:-1]
        outputs = self._run([np.concatenate(arrays) for arrays in zip(*taken, strict=True)])
        parts = [np.split(array, ends) for array in outputs]
        return [self._response(arrays) for arrays in zip(*parts, strict=True)]

    def _run(self, arrays: Sequence[Any]) -> Any:
        return self._session.run(self._outputs, dict(zip(self._inputs, arrays, strict=True)))

    def _response(self, arrays: Sequence[Any]) -> Any:
        tensors = [pb_utils.Tensor(n, a) for n, a in zip(self._outputs, arrays, strict=True)]
        return pb_utils.InferenceResponse(tensors)
