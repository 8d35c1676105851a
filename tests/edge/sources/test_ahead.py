"""A source read ahead: all its frames in order, bounded, its errors after its frames."""

import threading
from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from edge_agent.sources.ahead import ReadAhead
from edge_agent.sources.frame import Frame, Start
from headtail.errors import DataError


class Counting:
    """Yields frames up to a number, then ends or fails, and counts what it has made."""

    identity = "counting"
    is_replayed = True
    skipped = 3

    def __init__(self, stop: int, fails: bool = False) -> None:
        self.start = Start()
        self.made = 0
        self.is_closed = False
        self.grew = threading.Condition()
        self._stop = stop
        self._fails = fails

    def resume(self, start: Start) -> None:
        """Begin there."""
        self.start = start

    def batches(self, limit: int) -> Iterator[Sequence[Frame]]:
        """Yield one frame at a time."""
        for sequence in range(self.start.sequence, self._stop):
            with self.grew:
                self.made += 1
                self.grew.notify_all()
            yield [Frame(sequence, sequence, {"x": np.zeros(1)})]
        if self._fails:
            raise DataError("counting", "broken")

    def close(self) -> None:
        """Take note."""
        self.is_closed = True

    def wait_made(self, count: int) -> bool:
        """Wait until so many frames were made."""
        with self.grew:
            return self.grew.wait_for(lambda: self.made >= count, 20.0)


def test_all_frames_come_in_order_and_at_most_so_many_at_once():
    ahead = ReadAhead(Counting(100))
    batches = list(ahead.batches(8))
    ahead.close()
    assert list(range(100)) == [f.sequence for batch in batches for f in batch]
    assert 8 >= max(map(len, batches))


def test_what_queues_while_a_window_runs_comes_together():
    source = Counting(100)
    batches = (ahead := ReadAhead(source)).batches(4)
    first = next(batches)
    assert source.wait_made(len(first) + 2 * 4)
    assert 4 == len(next(batches))
    ahead.close()
    assert source.is_closed


def test_no_more_than_two_messages_are_made_before_they_are_asked_for():
    """One more waits for room in the thread's hand."""
    source = Counting(1000)
    batches = (ahead := ReadAhead(source)).batches(4)
    taken = len(next(batches))
    assert source.wait_made(taken + 2 * 4)
    ahead.close()
    assert taken + 2 * 4 + 1 >= source.made


def test_an_error_comes_after_the_frames_before_it():
    ahead = ReadAhead(Counting(5, fails=True))
    batches = ahead.batches(100)
    got: list[Frame] = []
    with pytest.raises(DataError, match="broken"):
        got.extend(frame for frames in batches for frame in frames)
    ahead.close()
    assert list(range(5)) == [frame.sequence for frame in got]


def test_a_run_is_continued_by_the_source_itself():
    source = Counting(10)
    ahead = ReadAhead(source)
    ahead.resume(Start(7, 6))
    assert [7, 8, 9] == [f.sequence for batch in ahead.batches(2) for f in batch]
    ahead.close()
    assert ("counting", True, 3) == (ahead.identity, ahead.is_replayed, ahead.skipped)


def test_one_that_is_never_read_is_closed():
    source = Counting(10)
    ReadAhead(source).close()
    assert source.is_closed
    assert 0 == source.made
