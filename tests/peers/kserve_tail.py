"""A tail served by KServe's own Python server; runs in KServe's environment, never in ours.

python kserve_tail.py NAME TAIL.onnx GRPC_PORT HTTP_PORT
"""

import logging
import sys
from typing import Any

import onnxruntime as ort
from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer


class Tail(Model):
    """One graph, one thread."""

    def __init__(self, name: str, path: str) -> None:
        """Load the graph."""
        super().__init__(name)
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self._session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self._outputs = [(output.name, output.shape) for output in self._session.get_outputs()]
        self.ready = True

    async def predict(
        self, payload: InferRequest, headers: Any = None, response_headers: Any = None
    ) -> InferResponse:
        """Answer one request."""
        arrays = {tensor.name: tensor.as_numpy() for tensor in payload.inputs}
        made = self._session.run([name for name, _ in self._outputs], arrays)
        outputs = []
        for (name, _), array in zip(self._outputs, made, strict=True):
            output = InferOutput(name, list(array.shape), "FP32")
            output.set_data_from_numpy(array, binary_data=True)
            outputs.append(output)
        return InferResponse(payload.id, self.name, outputs)


def main() -> None:
    """Serve until killed."""
    name, path, grpc_port, http_port = sys.argv[1:]
    logging.getLogger().setLevel(logging.WARNING)
    server = ModelServer(
        http_port=int(http_port),
        grpc_port=int(grpc_port),
        workers=1,
        enable_latency_logging=False,
    )
    server.start([Tail(name, path)])


if __name__ == "__main__":
    main()
