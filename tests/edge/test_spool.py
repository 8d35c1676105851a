"""The spool against a plain model of it, torn and broken files, older and newer schemas."""

import shutil
import sqlite3
import tempfile
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from edge_agent.spool import Change, Spool
from edge_agent.spool_entry import Entry
from edge_agent.spool_schema import APPLICATION_ID, MIGRATIONS, VERSION
from headtail.errors import SpoolError

RUN = ("npz:a.npz", "out.jsonl")


def entry(sequence: int, size: int = 3, stored_s: float = 0.0) -> Entry:
    """Return a window with a payload of its own."""
    payload = sequence.to_bytes(4, "big") * size
    return Entry(sequence, 10 * sequence, "", None, "d", 1, "int8", True, payload, stored_s)


def entries(first: int, count: int) -> list[Entry]:
    """Return windows in a row."""
    return [entry(sequence) for sequence in range(first, first + count)]


def sequences(spool: Spool) -> list[int]:
    """Return what a spool holds."""
    return [e.sequence for e in spool.read(-1, 1000)]


@pytest.fixture
def spool(tmp_path):
    """Return a spool that a run has begun."""
    spool = Spool(tmp_path / "s.spool", "off")
    spool.begin(*RUN, 0, 0)
    yield spool
    spool.close()


class SpoolMachine(RuleBasedStateMachine):
    """Whatever is done to a spool, it holds what a dictionary would, opened again or not."""

    @initialize(first=st.integers(0, 5))
    def begin(self, first):
        """Make both."""
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "s.spool"
        self.spool = Spool(self.path, "off")
        self.spool.begin(*RUN, first, 7)
        self.held: dict[int, Entry] = {}
        self.next, self.sample, self.dropped, self.sink_bytes = first, None, 0, 7

    @rule(
        count=st.integers(0, 5), size=st.integers(0, 2000), taken=st.floats(0, 1), old=st.booleans()
    )
    def commit(self, count, size, taken, old):
        """Add windows, and forget a share of the oldest."""
        new = [entry(self.next + i, size, 1.0 if old else 2.0) for i in range(count)]
        held = sorted(self.held)
        delivered = held[int(taken * (len(held) - 1))] if held else 0
        self.spool.commit(Change(new, delivered, self.sink_bytes + count))
        self.held = {s: e for s, e in self.held.items() if s >= delivered}
        self.held |= {e.sequence: e for e in new}
        self.sink_bytes += count
        if new:
            self.next, self.sample = new[-1].sequence + 1, new[-1].sample

    @rule(max_bytes=st.integers(0, 20_000), oldest_s=st.sampled_from([0.0, 1.5, 3.0]))
    def drop(self, max_bytes, oldest_s):
        """Give up the oldest until the rest fits and is young enough; no more than that."""
        stop = self.spool.surplus(max_bytes, oldest_s)
        kept = [e for s, e in sorted(self.held.items()) if s >= stop]
        gone = [e for s, e in sorted(self.held.items()) if s < stop]
        assert sum(len(e.payload) for e in kept) <= max_bytes
        assert not kept or kept[0].stored_s >= oldest_s
        if gone:
            more = sum(len(e.payload) for e in [gone[-1], *kept])
            assert more > max_bytes or gone[-1].stored_s < oldest_s
        self.spool.commit(Change(dropped=range(stop)))
        self.held = {e.sequence: e for e in kept}
        self.dropped += len(gone)

    @rule()
    def fail(self):
        """A change that cannot be made is not made by half."""
        if self.held:
            twice = [entry(self.next), entry(max(self.held))]
            with pytest.raises(SpoolError, match="UNIQUE"):
                self.spool.commit(Change(twice, max(self.held)))

    @rule()
    def reopen(self):
        """End in order and begin again."""
        self.spool.close()
        self.spool = Spool(self.path, "off")

    @rule()
    def die(self):
        """Leave the files as a killed process does, and begin again from them."""
        folder = tempfile.TemporaryDirectory()
        for path in Path(self.folder.name).iterdir():
            shutil.copy(path, folder.name)
        self.spool.close()
        self.folder.cleanup()
        self.folder, self.path = folder, Path(folder.name) / "s.spool"
        self.spool = Spool(self.path, "off")

    @invariant()
    def same(self):
        """What is read is what is held, and so are the sums."""
        assert [e for _, e in sorted(self.held.items())] == self.spool.read(-1, 10_000)
        assert (len(self.held), sum(len(e.payload) for e in self.held.values())) == (
            self.spool.windows, self.spool.bytes
        )  # fmt: skip
        state = self.spool.state
        assert (*RUN, self.next, self.sample, "", self.sink_bytes, self.dropped) == (
            state.source, state.sink, state.next, state.sample, state.place, state.sink_bytes,
            state.dropped,
        )  # fmt: skip

    def teardown(self):
        """Close."""
        if hasattr(self, "spool"):
            self.spool.close()
            self.folder.cleanup()


TestSpoolMachine = SpoolMachine.TestCase
TestSpoolMachine.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)


@settings(max_examples=25, deadline=None)
@given(cut=st.integers(0, 1 << 16), garbage=st.binary(max_size=200), keep=st.integers(1, 6))
def test_torn_write_loses_nothing_acknowledged(cut, garbage, keep):
    """The log is cut or overwritten after a commit was acknowledged: that commit is all there."""
    with tempfile.TemporaryDirectory() as name:
        path, log = Path(name) / "s.spool", Path(name) / "s.spool-wal"
        spool = Spool(path, "full")
        spool.begin(*RUN, 0, 0)
        for i in range(keep):
            spool.commit(Change(entries(3 * i, 3), max(0, 3 * i - 3)))
        acknowledged, size = sequences(spool), log.stat().st_size
        spool.commit(Change(entries(3 * keep, 3)))
        torn = Path(name) / "torn"
        torn.mkdir()
        shutil.copy(path, torn)
        content = log.read_bytes()
        whole = content[: size + cut % (len(content) - size)]
        (torn / log.name).write_bytes(whole + garbage)
        spool.close()
        again = Spool(torn / path.name)
        assert acknowledged == sequences(again)
        assert 3 * keep == again.state.next
        again.close()


def test_second_agent_is_told(spool, tmp_path):
    with pytest.raises(SpoolError, match=r"spool .*s\.spool: in use by another agent"):
        Spool(tmp_path / "s.spool")


@pytest.mark.parametrize("size", [1, 100, 5000])
def test_file_that_is_no_spool_is_refused_and_left_alone(tmp_path, size):
    (tmp_path / "s.spool").write_bytes(b"x" * size)
    with pytest.raises(SpoolError, match=r"corrupt: .* move it away to begin anew"):
        Spool(tmp_path / "s.spool")
    assert b"x" * size == (tmp_path / "s.spool").read_bytes()


def test_database_of_something_else_is_refused(tmp_path):
    database = sqlite3.connect(tmp_path / "s.spool")
    database.execute("CREATE TABLE t (x)")
    database.close()
    content = (tmp_path / "s.spool").read_bytes()
    with pytest.raises(SpoolError, match="is a database of something else"):
        Spool(tmp_path / "s.spool")
    assert content == (tmp_path / "s.spool").read_bytes()


def test_truncated_file_is_named(tmp_path):
    spool = Spool(tmp_path / "s.spool")
    spool.begin(*RUN, 0, 0)
    spool.commit(Change([entry(i, 2000) for i in range(20)]))
    spool.close()
    content = (tmp_path / "s.spool").read_bytes()
    (tmp_path / "s.spool").write_bytes(content[: len(content) // 2])
    with pytest.raises(SpoolError, match=r"s\.spool: corrupt"):
        Spool(tmp_path / "s.spool")


def test_changed_payload_is_named(tmp_path):
    """SQLite itself would not see it."""
    spool = Spool(tmp_path / "s.spool")
    spool.begin(*RUN, 0, 0)
    spool.commit(Change([entry(0), entry(1, 200)]))
    spool.close()
    content = (tmp_path / "s.spool").read_bytes()
    (tmp_path / "s.spool").write_bytes(content.replace(b"\0\0\0\1" * 200, b"\0\0\0\2" * 200))
    spool = Spool(tmp_path / "s.spool")
    with pytest.raises(SpoolError, match="corrupt: window 1 is not what was stored"):
        spool.read(-1, 5)
    spool.close()


def test_version_1_is_migrated_with_its_windows(tmp_path):
    """Version 1 knew neither ages nor drops."""
    database = sqlite3.connect(tmp_path / "s.spool", isolation_level=None)
    for statement in MIGRATIONS[0]:
        database.execute(statement)
    database.execute("INSERT INTO state VALUES (1, 'npz:a.npz', 'out.jsonl', 6, 50, '', 99)")
    row = entry(5)
    values = (5, 50, None, "d", 1, "int8", 1, row.payload, zlib.crc32(row.payload))
    database.execute(f"PRAGMA application_id={APPLICATION_ID}")
    database.execute("PRAGMA user_version=1")
    database.execute("INSERT INTO entries VALUES (?,?,?,?,?,?,?,?,?)", values)
    database.close()
    spool = Spool(tmp_path / "s.spool")
    assert (6, 50, 99, 0) == (
        spool.state.next, spool.state.sample, spool.state.sink_bytes, spool.state.dropped
    )  # fmt: skip
    assert [row] == spool.read(-1, 5)
    spool.close()


def test_newer_version_is_refused_by_name(tmp_path):
    spool = Spool(tmp_path / "s.spool")
    spool.close()
    database = sqlite3.connect(tmp_path / "s.spool")
    database.execute(f"PRAGMA user_version={VERSION + 1}")
    database.close()
    with pytest.raises(SpoolError, match=f"expected schema version 1 to {VERSION}, received"):
        Spool(tmp_path / "s.spool")


def test_full_disk_is_named_and_nothing_is_half_done(spool):
    """SQLite itself says full when it may have no more pages."""
    spool.commit(Change(entries(0, 3)))
    pages = spool._database.execute("PRAGMA page_count").fetchone()[0]
    spool._database.execute(f"PRAGMA max_page_count={pages}")
    with pytest.raises(SpoolError, match="cannot be written: No space left on device"):
        spool.commit(Change([entry(3, 9000)], delivered=2))
    assert [0, 1, 2] == sequences(spool)
    assert 3 == spool.state.next
    spool._database.execute("PRAGMA max_page_count=100000")
    spool.commit(Change([entry(3, 9000)], delivered=2))
    assert [2, 3] == sequences(spool)
