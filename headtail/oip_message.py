"""Requests and responses of the Open Inference Protocol v2, as our programs see them."""

from collections.abc import Mapping
from types import MappingProxyType

import msgspec

Parameter = bool | int | float | str
Content = bytes | bytearray | memoryview
"""A message; the large tensors of one that was read are views of it, so it must stay as it is."""
Buffer = bytes | memoryview
NO_PARAMETERS: Mapping[str, Parameter] = MappingProxyType({})
RAW_INPUT_FIELD, RAW_OUTPUT_FIELD = 7, 6


class Tensor(msgspec.Struct, frozen=True):
    """A tensor as it travels: little-endian, row-major."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    content: Buffer


class InferRequest(msgspec.Struct, frozen=True):
    """What a client asks: `outputs` names those wanted, empty for all."""

    model: str
    version: str
    id: str
    parameters: Mapping[str, Parameter]
    inputs: tuple[Tensor, ...]
    outputs: tuple[str, ...] = ()


class InferResponse(msgspec.Struct, frozen=True):
    """What a server answers; `error` is empty unless it is a stream's answer to a bad request."""

    model: str
    version: str
    id: str
    parameters: Mapping[str, Parameter]
    outputs: tuple[Tensor, ...]
    error: str = ""
