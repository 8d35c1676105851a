"""Deflated tensors that are hostile: a stream or a shape that lies ends in an error of tensors."""

import zlib
from contextlib import suppress

import numpy as np
from hypothesis import strategies as st

from fog_server.inflate import MAX_BYTES, inflate
from fuzzing import damaged, fuzz
from headtail.compression import compress
from headtail.errors import TensorError
from headtail.oip import Tensor
from headtail.tensor import TensorSpec

GOOD = np.arange(64, dtype=np.float32).tobytes()
SPECS = [TensorSpec("x", "float32", (-1, 4, 2)), TensorSpec("x", "uint8", (-1, -1))]
STREAMS = [compress(GOOD), zlib.compress(bytes(1 << 20), 9), zlib.compress(GOOD, 0)]
LENGTHS = st.one_of(st.integers(-1, 300), st.sampled_from([2**31, 2**62, 2**63 - 1, -(2**63)]))


def check_deflated(data: st.DataObject) -> None:
    """What is taken is as long as its shape says, and what zlib itself makes of it."""
    spec = data.draw(st.sampled_from(SPECS))
    shape = tuple(data.draw(st.lists(LENGTHS, max_size=4)))
    if data.draw(st.booleans()):
        shape = (data.draw(st.integers(1, 9)), *(4, 2)[: len(spec.shape) - 1])
    content = data.draw(damaged(data.draw(st.sampled_from(STREAMS))))
    with suppress(TensorError):
        (tensor,) = inflate([Tensor("x", "FP32", shape, content)], [spec], 256, "m")
        size = int(np.prod(shape)) * np.dtype(spec.dtype).itemsize
        assert size == len(tensor.content) <= MAX_BYTES
        assert zlib.decompress(content) == tensor.content


test_deflated, test_deflated_for_long = fuzz(check_deflated, data=st.data())
