"""A tail as a runtime of MLServer; runs in MLServer's environment, never in ours."""

from typing import Any

import onnxruntime as ort
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Tail(MLModel):
    """One graph, one thread."""

    async def load(self) -> bool:
        """Load the graph that the model's settings name."""
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self._session = ort.InferenceSession(
            self.settings.parameters.uri, options, providers=["CPUExecutionProvider"]
        )
        self._outputs = [output.name for output in self._session.get_outputs()]
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Answer one request."""
        arrays: dict[str, Any] = {t.name: NumpyCodec.decode_input(t) for t in payload.inputs}
        made = self._session.run(self._outputs, arrays)
        outputs = [
            NumpyCodec.encode_output(name, array)
            for name, array in zip(self._outputs, made, strict=True)
        ]
        return InferenceResponse(id=payload.id, model_name=self.name, outputs=outputs)
