"""Memory that is given back."""

import threading

from fog_server.memory import HeapTrim, resident_bytes


def test_resident_memory_is_what_the_system_says() -> None:
    """A process with NumPy and gRPC in it holds more than a few megabytes and less than many."""
    assert 4 << 20 < resident_bytes() < 4 << 30


def test_trimming_ends_when_it_is_closed(wait_until) -> None:
    trim = HeapTrim(every_s=0.001)
    assert any(t.name == "heap-trim" for t in threading.enumerate())
    trim.close()
    wait_until(lambda: all(t.name != "heap-trim" for t in threading.enumerate()))
