"""Tests of tensors that travel deflated: bounded, whole, and nothing behind them."""

import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headtail.compression import compress, decompress
from headtail.errors import TensorInvalid


@given(st.binary(max_size=4096))
def test_what_was_compressed_comes_back(content: bytes) -> None:
    for view in (content, memoryview(content)):
        assert content == decompress(compress(view), len(content))
        assert content == decompress(memoryview(compress(view)), len(content))


def test_any_zlib_stream_is_read() -> None:
    """Of another level, and stored blocks; another client may compress as it likes."""
    content = np.arange(9000, dtype=np.float32).tobytes()
    for level in (0, 1, 6, 9):
        assert content == decompress(zlib.compress(content, level), len(content))


@given(st.binary(min_size=1, max_size=300), st.data())
def test_a_stream_that_breaks_off_is_refused(content: bytes, data: st.DataObject) -> None:
    stream = compress(content)
    kept = data.draw(st.integers(0, len(stream) - 1))
    with pytest.raises(TensorInvalid, match=r"tensor: expected .* received"):
        decompress(stream[:kept], len(content))


@given(st.binary(max_size=600), st.integers(0, 500))
def test_random_bytes_give_what_zlib_gives_or_an_error(content: bytes, expected: int) -> None:
    try:
        inflated = decompress(content, expected)
    except TensorInvalid:
        return
    assert (inflated, len(inflated)) == (zlib.decompress(content), expected)


@pytest.mark.parametrize(
    ("stream", "message"),
    [
        (compress(b"abcd") + b"x", "nothing behind the deflated bytes, received 1 bytes"),
        (compress(b"abc"), "expected 4 bytes once inflated, received 3 bytes"),
        (compress(b"abcde"), "expected 4 bytes once inflated, received more"),
        (compress(b"abcd")[:-1], "received a stream that breaks off"),
        (b"", "received a stream that breaks off"),
        (b"abcd", "incorrect header check"),
        (compress(b"abcd")[:-4] + b"\0\0\0\0", "incorrect data check"),
    ],
)
def test_what_does_not_hold_the_expected_bytes_is_told(stream: bytes, message: str) -> None:
    with pytest.raises(TensorInvalid, match=message) as caught:
        decompress(stream, 4, "model 'm' input 'x'")
    assert str(caught.value).startswith("model 'm' input 'x': expected")


def test_a_bomb_takes_no_more_memory_than_what_is_expected() -> None:
    """64 MiB of zeros in 64 KiB."""
    bomb = zlib.compress(bytes(64 << 20), 9)
    tracemalloc.start()
    with pytest.raises(TensorInvalid, match="received more"):
        decompress(bomb, 1000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * len(bomb)
