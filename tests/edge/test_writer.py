"""Order, room and errors of the writer."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.result import Result
from edge_agent.writer import Writer
from headtail.errors import ConfigError


def result(sequence: int) -> Result:
    """Return a result that is nothing but its sequence."""
    return Result(
        sequence, 0, None, [], "edge", 0, "float32", 0.0, 0.0, 0.0, None, None, 0, None, None
    )


class Keeper:
    """Keeps what it takes; takes nothing before `go` is set; may break."""

    def __init__(self, error: Exception | None = None) -> None:
        self.sequences: list[int] = []
        self.go = threading.Event()
        self.go.set()
        self._error = error

    def take(self, results) -> None:
        """Keep, or break."""
        self.go.wait()
        if self._error:
            raise self._error
        self.sequences += [r.sequence for r in results]


@given(st.permutations(range(12)))
def test_any_order_of_completion_is_written_in_order(order):
    keeper = Keeper()
    writer = Writer([keeper], room=12)
    writer.reserve(12)
    for sequence in order:
        writer.add([result(sequence)])
    writer.drain()
    writer.close()
    assert list(range(12)) == keeper.sequences


def test_reserve_waits_for_room_until_results_are_taken():
    """Room counts windows begun and not yet taken, so a slow sink stops the source."""
    keeper = Keeper()
    keeper.go.clear()
    writer = Writer([keeper], room=2)
    writer.reserve(2)
    reserved = threading.Event()

    def reserve() -> None:
        writer.reserve(1)
        reserved.set()

    thread = threading.Thread(target=reserve)
    thread.start()
    writer.add([result(0), result(1)])
    assert not reserved.is_set()
    keeper.go.set()
    thread.join()
    assert reserved.is_set()
    writer.release(1)
    writer.drain()
    writer.close()


def test_error_of_a_taker_is_raised_to_the_run():
    writer = Writer([Keeper(ConfigError("--sink", "disk full"))], room=4)
    writer.reserve(1)
    writer.add([result(0)])
    with pytest.raises(ConfigError, match="disk full"):
        writer.drain()
    with pytest.raises(ConfigError, match="disk full"):
        writer.reserve(1)
    writer.close()


def test_result_waits_until_it_is_allowed():
    keeper = Keeper()
    writer = Writer([keeper], room=4, first=5)
    writer.allow(6)
    writer.reserve(2)
    writer.add([result(6), result(5)])
    writer.close()
    assert [5] == keeper.sequences


def test_skipped_windows_are_passed_over_and_late_results_ignored():
    keeper = Keeper()
    writer = Writer([keeper], room=6)
    writer.reserve(4)
    assert range(2) == writer.skip(2)
    writer.add([result(1), result(3), result(2)])
    writer.drain()
    writer.add([result(0)])
    assert 4 == writer.written
    writer.close()
    assert [2, 3] == keeper.sequences


def test_jump_goes_on_with_another_number():
    keeper = Keeper()
    writer = Writer([keeper], room=4)
    writer.reserve(1)
    writer.add([result(0)])
    writer.jump(9)
    writer.reserve(1)
    writer.add([result(9)])
    writer.drain()
    assert 2 == writer.written
    writer.close()
    assert [0, 9] == keeper.sequences
