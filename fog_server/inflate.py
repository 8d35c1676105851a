"""Requests whose tensors travel compressed: inflated within bounds known before they are read."""

import math
from collections.abc import Sequence

import msgspec
import numpy as np

from headtail.compression import DEFLATE, PARAMETER, decompress
from headtail.errors import RequestInvalid, ShapeMismatch, TensorInvalid
from headtail.oip import InferRequest, Tensor
from headtail.tensor import TensorSpec, fits

MAX_BYTES = 64 << 20
"""Of a request's tensors together once inflated."""


def is_deflated(request: InferRequest) -> bool:
    """Return whether a request's tensors travel as zlib streams.

    Raises:
        RequestInvalid: If they are compressed in another way.
    """
    compression = request.parameters.get(PARAMETER)
    if compression is None:
        return False
    if compression != DEFLATE:
        received = f"'{str(compression)[:16]}'"
        raise RequestInvalid(f"parameter '{PARAMETER}'", f"expected {DEFLATE}, received {received}")
    return True


def inflate(
    tensors: Sequence[Tensor], specs: Sequence[TensorSpec], max_batch: int, model: str
) -> list[Tensor]:
    """Return tensors with their content inflated.

    Args:
        tensors: As they travelled, in the order of `specs`.
        specs: Of what travels; with the stated shape they give the size before a byte is inflated.
        max_batch: Most windows of a batchable tensor.
        model: Named in errors.

    Raises:
        ShapeMismatch: If a stated shape does not fit its spec.
        TensorInvalid: If there are more windows or bytes than may be, or a tensor's stream does
            not hold just what its shape says.
    """
    sizes = [_size(t, s, max_batch, model) for t, s in zip(tensors, specs, strict=True)]
    if sum(sizes) > MAX_BYTES:
        expected = f"at most {MAX_BYTES} bytes once inflated"
        raise TensorInvalid(f"model '{model}'", expected, str(sum(sizes)))
    return [
        msgspec.structs.replace(
            tensor, content=decompress(tensor.content, size, f"tensor '{spec.name}'")
        )
        for tensor, spec, size in zip(tensors, specs, sizes, strict=True)
    ]


def _size(tensor: Tensor, spec: TensorSpec, max_batch: int, model: str) -> int:
    if not fits(tensor.shape, spec.shape):
        raise ShapeMismatch(f"tensor '{spec.name}'", spec.shape, tensor.shape)
    if spec.is_batchable and tensor.shape[0] > max_batch:
        expected = f"at most {max_batch} windows a request"
        raise TensorInvalid(f"model '{model}'", expected, str(tensor.shape[0]))
    return math.prod(tensor.shape) * np.dtype(spec.dtype).itemsize
