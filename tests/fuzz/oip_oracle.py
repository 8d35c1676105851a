"""What the generated classes say of messages: right by definition, whatever our reader says."""

import numpy as np
from google.protobuf.message import DecodeError

from headtail.inference.grpc_service_pb2 import (
    ModelInferRequest,
    ModelInferResponse,
    ModelStreamInferResponse,
)
from headtail.oip import InferRequest, InferResponse, Parameter, Tensor

FIELDS = {
    "FP32": ("fp32_contents", "<f4"),
    "INT8": ("int_contents", "<i1"),
    "UINT16": ("uint_contents", "<u2"),
    "BOOL": ("bool_contents", "?"),
    "INT64": ("int64_contents", "<i8"),
}


def expected_request(data: bytes) -> InferRequest | None:
    """Return what the generated class reads, or None where the request must be refused."""
    try:
        message = ModelInferRequest.FromString(data)
    except DecodeError:
        return None
    raw = list(message.raw_input_contents)
    typed = [t.HasField("contents") for t in message.inputs]
    if raw and (len(raw) != len(message.inputs) or any(typed)):
        return None
    contents = []
    for i, tensor in enumerate(message.inputs):
        if typed[i]:
            if tensor.datatype not in FIELDS:
                return None
            name, dtype = FIELDS[tensor.datatype]
            try:
                contents.append(
                    np.array(list(getattr(tensor.contents, name)), dtype=dtype).tobytes()
                )
            except OverflowError:
                return None
        else:
            contents.append(raw[i] if raw else b"")
    return InferRequest(
        model=message.model_name,
        version=message.model_version,
        id=message.id,
        parameters=_parameters(message),
        inputs=tuple(
            Tensor(t.name, t.datatype, tuple(t.shape), c)
            for t, c in zip(message.inputs, contents, strict=True)
        ),
        outputs=tuple(o.name for o in message.outputs),
    )


def expected_response(data: bytes) -> InferResponse | None:
    """Return what the generated class reads, or None where the answer must be refused."""
    try:
        outer = ModelStreamInferResponse.FromString(data)
    except DecodeError:
        return None
    message = outer.infer_response
    raw = list(message.raw_output_contents)
    if (raw and len(raw) != len(message.outputs)) or any(
        t.HasField("contents") for t in message.outputs
    ):
        return None
    return InferResponse(
        model=message.model_name,
        version=message.model_version,
        id=message.id,
        parameters=_parameters(message),
        outputs=tuple(
            Tensor(t.name, t.datatype, tuple(t.shape), raw[i] if raw else b"")
            for i, t in enumerate(message.outputs)
        ),
        error=outer.error_message,
    )


def _parameters(message: ModelInferRequest | ModelInferResponse) -> dict[str, Parameter]:
    kinds = {n: p.WhichOneof("parameter_choice") for n, p in message.parameters.items()}
    return {n: getattr(message.parameters[n], k) for n, k in kinds.items() if k}
