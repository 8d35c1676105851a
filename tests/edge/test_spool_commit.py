"""Commits in groups: what waits for them, and what happens when the spool is full."""

import threading

import numpy as np
import pytest

from edge_agent.plan import choose_plan
from edge_agent.result import Result
from edge_agent.sources.frame import Frame
from edge_agent.spool import Spool
from edge_agent.spool_commit import Committer, Limits
from edge_agent.spool_entry import Packer
from edge_agent.writer import Writer
from headtail.errors import SpoolError


def result(sequence: int) -> Result:
    """Return a result that is nothing but its sequence."""
    return Result(
        sequence, 0, None, [], "edge", 0, "float32", 0.0, 0.0, 0.0, None, None, 0, None, None
    )


class Sink:
    """Keeps sequences; takes none before `go` is set; remembers which were synced."""

    def __init__(self) -> None:
        self.sequences: list[int] = []
        self.synced = 0
        self.go = threading.Event()
        self.go.set()

    def take(self, results) -> None:
        """Keep."""
        self.go.wait()
        self.sequences += [r.sequence for r in results]

    def sync(self) -> int:
        """Remember."""
        self.synced = len(self.sequences)
        return self.synced


class Kept:
    """A spool, its committer, a writer and a sink, put together as a run does."""

    def __init__(self, path, plan, limits: Limits) -> None:
        self.spool = Spool(path, "off")
        self.spool.begin("source", "sink", 0, 0)
        self.sink = Sink()
        self.committer = Committer(self.spool, Packer(plan, "d"), self.sink, limits)
        self.writer = Writer([self.sink, self.committer], room=100)
        self.committer.start(self.writer, 0)

    def put(self, *sequences: int) -> None:
        """Begin windows and finish them at once."""
        frames = [Frame(s, s, {"x": np.zeros((16, 2), np.float32)}) for s in sequences]
        self.writer.reserve(len(frames))
        self.committer.put(frames, {"y": np.zeros((len(frames), 3), np.float32)})
        self.writer.add([result(s) for s in sequences])

    def held(self) -> list[int]:
        """Return what the spool holds."""
        return [entry.sequence for entry in self.spool.read(-1, 100)]

    def close(self) -> None:
        """End as a run does."""
        self.sink.go.set()
        self.writer.close()
        self.committer.close()
        self.spool.close()


@pytest.fixture
def kept(tmp_path, bundle):
    """Return a function that puts a spool with these limits together; point 3 keeps outputs."""
    made = []

    def make(**limits: object) -> Kept:
        made.append(
            Kept(tmp_path / "s", choose_plan(bundle.manifest, "3", "float32"), Limits(**limits))
        )
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_result_waits_for_its_commit(kept, wait_until):
    """Neither the count nor the time of a group has come: it is done, and not in the sink."""
    each = kept(windows=4, delay_s=600.0)
    each.put(0, 1, 2)
    assert [] == each.held()
    assert [] == each.sink.sequences
    each.put(3)
    wait_until(lambda: each.sink.sequences == [0, 1, 2, 3])
    assert [0, 1, 2, 3] == each.held()


def test_small_group_is_committed_after_its_delay(kept, wait_until):
    each = kept(windows=1000, delay_s=0.001)
    each.put(0)
    wait_until(lambda: each.sink.sequences == [0])


def test_window_is_removed_once_the_sink_is_synced(kept, wait_until):
    each = kept(windows=1, delay_s=600.0)
    each.put(0)
    wait_until(lambda: each.committer._taken == 1)
    each.put(1)
    wait_until(lambda: each.held() == [1])
    assert 1 <= each.sink.synced
    assert 1 <= each.spool.state.sink_bytes


def test_full_spool_stops_the_source_until_results_are_in_the_sink(kept, wait_until):
    each = kept(windows=1, delay_s=0.001, max_bytes=60)  # three windows of 17 bytes
    each.sink.go.clear()
    each.put(0, 1, 2)
    wait_until(lambda: each.held() == [0, 1, 2])
    put = threading.Event()
    thread = threading.Thread(target=lambda: (each.put(3, 4), put.set()))
    thread.start()
    assert not put.wait(0.05)
    each.sink.go.set()
    thread.join()
    wait_until(lambda: each.sink.sequences == [0, 1, 2, 3, 4])
    assert 0 == each.committer.dropped


def test_full_spool_drops_the_oldest_and_counts_them(kept, wait_until, caplog):
    """What the sink is taking meanwhile stays; what is given up never reaches it."""
    each = kept(windows=1, delay_s=600.0, max_bytes=60, when_full="drop")
    each.sink.go.clear()
    each.put(0)
    wait_until(lambda: each.held() == [0])  # and the sink has it in its hands
    wait_until(lambda: each.writer._taking == 1)
    for sequence in range(1, 8):
        each.put(sequence)
        wait_until(lambda s=sequence: s in each.held())
    wait_until(lambda: each.committer.dropped == 5)
    assert [0, 6, 7] == each.held()
    each.sink.go.set()
    each.writer.drain()
    assert [0, 6, 7] == each.sink.sequences
    assert 5 == each.spool.state.dropped
    assert "spool full" in caplog.text


def test_failed_commit_ends_the_run_and_keeps_the_results_back(kept):
    each = kept(windows=100, delay_s=600.0)
    each.spool._database.execute("PRAGMA max_page_count=1")  # as many as there are
    each.put(*range(100))
    with pytest.raises(SpoolError, match="No space left on device"):
        each.writer.drain()
    with pytest.raises(SpoolError, match="No space left on device"):
        each.committer.close()
    assert [] == each.sink.sequences
    assert [] == each.held()
    each.committer._error = None  # told already
