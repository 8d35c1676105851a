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
    assert {} == writer._done  # where they would stay for ever
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


class Names:
    """Notes on which thread results were taken."""

    def __init__(self, error: Exception | None = None) -> None:
        self.threads: list[str] = []
        self._error = error

    def take(self, results) -> None:
        """Note the thread, or break."""
        if self._error:
            raise self._error
        self.threads += [threading.current_thread().name] * len(results)


@pytest.mark.parametrize("is_prompt", [True, False])
def test_whoever_brings_results_hands_them_on_where_nothing_waits(is_prompt):
    names = Names()
    writer = Writer([names], room=4, is_prompt=lambda results: is_prompt)
    writer.reserve(3)
    for some in ([result(1)], [result(0)], [result(2)]):
        writer.add(some)
    writer.drain()
    writer.close()
    expected = threading.current_thread().name if is_prompt else "writer"
    assert [expected] * 3 == names.threads


def held_up(count: int) -> tuple[Keeper, Writer, threading.Thread]:
    """Return a writer with room for `count` whose first result is being handed on, by a thread."""
    keeper, entered = Keeper(), threading.Event()
    keeper.go.clear()

    def is_prompt(results) -> bool:
        entered.set()
        return True

    writer = Writer([keeper], room=8, is_prompt=is_prompt)
    writer.reserve(count)
    first = threading.Thread(target=writer.add, args=([result(0)],))
    first.start()
    entered.wait()
    return keeper, writer, first


def test_results_that_come_while_others_are_handed_on_follow_them():
    """Those who bring them go on at once; the writer's thread sees to what was left."""
    keeper, writer, first = held_up(4)
    for sequence in (3, 1, 2):
        writer.add([result(sequence)])
    assert [] == keeper.sequences
    keeper.go.set()
    writer.drain()
    first.join()
    writer.close()
    assert [0, 1, 2, 3] == keeper.sequences


def test_results_wait_for_one_that_is_handed_on_when_the_writer_closes():
    keeper, writer, first = held_up(2)
    writer.add([result(1)])
    closing = threading.Thread(target=writer.close)
    closing.start()
    keeper.go.set()
    for thread in (first, closing):
        thread.join()
    assert [0, 1] == keeper.sequences


def test_error_of_a_taker_reaches_the_run_and_not_whoever_brought_the_result():
    writer = Writer([Names(ConfigError("--sink", "disk full"))], room=4, is_prompt=lambda _: True)
    writer.reserve(2)
    writer.add([result(0)])
    writer.add([result(1)])
    with pytest.raises(ConfigError, match="disk full"):
        writer.drain()
    writer.close()
    assert 0 == writer.written


def test_skipped_windows_alone_wake_whoever_waits_for_room():
    writer = Writer([Names()], room=2)
    writer.reserve(2)
    assert range(2) == writer.skip(2)
    writer.reserve(2)
    assert 2 == writer.underway
    writer.skip(4)
    writer.drain()
    writer.close()


@given(st.permutations(range(12)), st.lists(st.booleans(), min_size=12, max_size=12))
def test_order_holds_whoever_hands_on(order, prompt):
    keeper, answers = Keeper(), iter(prompt)
    writer = Writer([keeper], room=12, is_prompt=lambda results: next(answers))
    writer.reserve(12)
    threads = [threading.Thread(target=writer.add, args=([result(n)],)) for n in order]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    writer.drain()
    writer.close()
    assert list(range(12)) == keeper.sequences
