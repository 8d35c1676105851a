"""The Open Inference Protocol v2 as our programs use it: messages, their reader and their writer.

Source: protobuf encoding, https://protobuf.dev/programming-guides/encoding.
"""

from headtail.oip_message import (
    RAW_INPUT_FIELD,
    RAW_OUTPUT_FIELD,
    Content,
    InferRequest,
    InferResponse,
    Parameter,
    Tensor,
)
from headtail.oip_reader import (
    MAX_HEADER_BYTES,
    MAX_ITEMS,
    WALK_FROM_BYTES,
    read_request,
    read_request_alike,
    read_response,
    read_stream_response,
)
from headtail.oip_writer import InferWriter, write_stream_error

__all__ = [
    "MAX_HEADER_BYTES",
    "MAX_ITEMS",
    "RAW_INPUT_FIELD",
    "RAW_OUTPUT_FIELD",
    "WALK_FROM_BYTES",
    "Content",
    "InferRequest",
    "InferResponse",
    "InferWriter",
    "Parameter",
    "Tensor",
    "read_request",
    "read_request_alike",
    "read_response",
    "read_stream_response",
    "write_stream_error",
]
