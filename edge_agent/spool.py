"""The spool: windows begun and not yet in the sink, kept on disk with the source's position.

A commit is one transaction: new windows, the position after the last of them, and the removal of
those whose results are in the sink. What `commit` has returned from survives the process, and with
`synchronous` full the power.
"""

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec

from edge_agent.spool_entry import Entry, checksum
from edge_agent.spool_schema import FAULTS, Synchronous, corrupt, fault, open_database

Row = TypeVar("Row")
_COLUMNS = "sequence, sample, truth, bundle, point, encoding, is_activation, payload, stored_s"


class _EntryRow(NamedTuple):
    """What a row of entries must hold, in the order of `_COLUMNS`."""

    sequence: int
    sample: int
    truth: int | None
    bundle: str
    point: int
    encoding: str
    is_activation: int
    payload: bytes
    stored_s: float
    crc: int

    def entry(self) -> Entry:
        """Return the window."""
        return Entry(
            self.sequence,
            self.sample,
            "",
            self.truth,
            self.bundle,
            self.point,
            self.encoding,
            bool(self.is_activation),
            self.payload,
            self.stored_s,
        )


@dataclass(frozen=True, slots=True)
class State:
    """Where a run stands that may have been cut short."""

    source: str
    """Identity of the source, as the source states it."""
    sink: str
    """Identity of the sink."""
    next: int
    """Sequence of the next window."""
    sample: int | None
    """Position of the last window in the source; None before the first."""
    place: str
    """The same by name, where the source has names."""
    sink_bytes: int
    """Size of the sink's file up to which it is known to be on the disk."""
    dropped: int
    """Windows dropped by the policy, since the spool was begun."""


@dataclass(frozen=True, slots=True)
class Change:
    """What one commit does."""

    entries: Sequence[Entry] = ()
    """New windows, in order."""
    delivered: int = 0
    """Sequence below which every result is in the sink, and on the disk."""
    sink_bytes: int | None = None
    """Size of the sink's file up to there; None where it was not synced."""
    dropped: range = range(0)
    """Sequences given up by the policy."""


class Spool:
    """A file of windows; safe to use from several threads."""

    def __init__(self, path: Path, synchronous: Synchronous = "full") -> None:
        """Open or make the file.

        Raises:
            SpoolError: If it cannot be opened, is corrupt, newer, or in use.
        """
        self.path = path
        self._lock = threading.Lock()
        self._database = open_database(path, synchronous)
        query = "SELECT coalesce(sum(length(payload)), 0), count(*) FROM entries"
        self.bytes, self.windows = self._rows(tuple[int, int], query)[0]

    @property
    def state(self) -> State | None:
        """Where things stand; None in a new file."""
        rows = self._rows(
            tuple[str, str, int, int | None, str, int, int],
            "SELECT source, sink, next, sample, place, sink_bytes, dropped FROM state",
        )
        return State(*rows[0]) if rows else None

    def begin(self, source: str, sink: str, first: int, sink_bytes: int) -> None:
        """Forget everything, and begin a run whose first window has sequence `first`."""
        with self._transaction() as database:
            database.execute("DELETE FROM entries")
            database.execute("DELETE FROM state")
            database.execute(
                "INSERT INTO state VALUES (1, ?, ?, ?, NULL, '', ?, 0)",
                (source, sink, first, sink_bytes),
            )
            self.bytes = self.windows = 0

    def commit(self, change: Change) -> None:
        """Make a change last.

        Raises:
            SpoolError: If it could not be; then nothing of it was done.
        """
        with self._transaction() as database:
            ended = _remove(database, 0, change.delivered)
            dropped = _remove(database, change.dropped.start, change.dropped.stop)
            database.executemany(
                f"INSERT INTO entries ({_COLUMNS}, crc) VALUES (?,?,?,?,?,?,?,?,?,?)",  # noqa: S608 - our own column names
                [_row(entry) for entry in change.entries],
            )
            database.execute(
                "UPDATE state SET sink_bytes = coalesce(?, sink_bytes), dropped = dropped + ?",
                (change.sink_bytes, dropped[0]),
            )
            if change.entries:
                last = change.entries[-1]
                database.execute(
                    "UPDATE state SET next = ?, sample = ?, place = ?",
                    (last.sequence + 1, last.sample, last.place),
                )
        added = sum(len(entry.payload) for entry in change.entries)
        self.windows += len(change.entries) - ended[0] - dropped[0]
        self.bytes += added - ended[1] - dropped[1]

    def read(self, after: int, limit: int) -> list[Entry]:
        """Return the oldest windows with a sequence over `after`, at most `limit`, in order.

        Raises:
            SpoolError: If a payload is not the one that was stored.
        """
        query = f"""SELECT {_COLUMNS}, crc FROM entries WHERE sequence > ?
                    ORDER BY sequence LIMIT ?"""  # noqa: S608 - our own column names
        entries = []
        for row in self._rows(_EntryRow, query, (after, limit)):
            if checksum(row.payload) != row.crc:
                raise corrupt(self.path, f"window {row.sequence} is not what was stored")
            entries.append(row.entry())
        return entries

    def bundles(self) -> set[str]:
        """Return the digests of the bundles that entries need."""
        rows = self._rows(tuple[str], "SELECT DISTINCT bundle FROM entries")
        return {bundle for (bundle,) in rows}

    def surplus(self, max_bytes: int, oldest_s: float, first: int = 0) -> int:
        """Return the sequence below which windows must go for the rest to be within bounds.

        Args:
            max_bytes: That the payloads may have together.
            oldest_s: Wall clock; what was stored before is too old.
            first: Sequence below which windows are not to go: their results are on their way.
        """
        excess = self.bytes - max_bytes
        horizon = -1
        query = """SELECT sequence, length(payload), CAST(stored_s AS REAL) FROM entries
                   WHERE sequence >= ? ORDER BY sequence"""
        with self._lock:
            for sequence, size, stored_s in self._database.execute(query, (first,)):
                if excess <= 0 and stored_s >= oldest_s:
                    break
                excess -= size
                horizon = sequence
        return horizon + 1

    def close(self) -> None:
        """Close the file; another agent may open it."""
        with self._lock:
            self._database.close()

    def remove(self) -> None:
        """Close and delete the file: every window's result is in the sink."""
        self.close()
        # A log without its file is ignored; a file without its log would be an older state.
        for suffix in ("", "-wal"):
            Path(f"{self.path}{suffix}").unlink(missing_ok=True)

    def _rows(self, kind: type[Row], query: str, values: Sequence[object] = ()) -> list[Row]:
        """Return what a query finds, each row a tuple of `kind`: SQLite's columns have no type."""
        with self._lock:
            try:
                rows = self._database.execute(query, values).fetchall()
                return [msgspec.convert(row, kind) for row in rows]
            except FAULTS as error:
                raise fault(self.path, error) from error
            except msgspec.ValidationError as error:
                raise corrupt(self.path, str(error)) from error

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Yield the database for a change that happens wholly or not at all."""
        with self._lock:
            try:
                self._database.execute("BEGIN IMMEDIATE")
                yield self._database
                self._database.execute("COMMIT")
            except FAULTS as error:
                # A full disk may have ended the transaction already.
                with suppress(sqlite3.Error):
                    self._database.execute("ROLLBACK")
                raise fault(self.path, error) from error


def _remove(database: sqlite3.Connection, first: int, stop: int) -> tuple[int, int]:
    """Delete the entries with sequences in [first, stop); return how many, and their bytes."""
    where = "FROM entries WHERE sequence >= ? AND sequence < ?"
    count = f"SELECT count(*), coalesce(sum(length(payload)), 0) {where}"
    windows, size = database.execute(count, (first, stop)).fetchone()
    if windows:
        database.execute(f"DELETE {where}", (first, stop))
    return windows, size


def _row(entry: Entry) -> tuple[object, ...]:
    """Return an entry in the order of `_COLUMNS`, and its checksum."""
    return (
        entry.sequence, entry.sample, entry.truth, entry.bundle, entry.point, entry.encoding,
        entry.is_activation, entry.payload, entry.stored_s, checksum(entry.payload),
    )  # fmt: skip
