"""Memory for large messages."""

import numpy as np
import pytest

from headtail.http2.inbox import room_for


@pytest.mark.parametrize("before", range(0, 40, 3))
def test_what_a_message_ends_with_lies_on_addresses_of_its_size(before: int) -> None:
    """Whatever the length of what comes before it."""
    values = np.arange(50_000, dtype=np.float64)
    room = room_for(before + values.nbytes)
    room[before:] = values.tobytes()
    array = np.frombuffer(room[before:], dtype=np.float64)
    assert array.flags.aligned
    assert np.array_equal(array, values)
