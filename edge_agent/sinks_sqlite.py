"""Results as rows of a SQLite database, one a sequence."""

import sqlite3
from collections.abc import Sequence
from pathlib import Path

import msgspec

from edge_agent.result import Result
from edge_agent.sinks import NONE, Existing
from headtail.errors import ConfigError

_CREATE = """CREATE TABLE IF NOT EXISTS results (
    sequence INTEGER PRIMARY KEY, label TEXT, output TEXT NOT NULL, "where" TEXT NOT NULL,
    partition_point INTEGER NOT NULL, encoding TEXT NOT NULL, latency_s REAL NOT NULL,
    head_s REAL NOT NULL, tail_s REAL NOT NULL, tx_bytes INTEGER NOT NULL, compute_j REAL,
    tx_j REAL, bundle TEXT NOT NULL, sample INTEGER NOT NULL)"""
_INSERT = "INSERT OR IGNORE INTO results VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
_encoder = msgspec.json.Encoder()


class DatabaseSink:
    """The table `results`; the columns are the keys of a line, the energies two of them.

    Each batch is a transaction, on the disk when `take` returns. Others may read meanwhile.
    """

    def __init__(self, path: Path, bundle: str, existing: Existing) -> None:
        """Open or make the database.

        Raises:
            FileExistsError: If it exists and `existing` says "refuse".
            ConfigError: If it cannot be opened, or is no database.
        """
        self._where = f"sqlite:{path}"
        self._bundle = bundle
        if existing == "refuse" and path.exists():
            raise FileExistsError
        if existing == "overwrite":
            for suffix in ("-wal", "-shm", ""):
                path.with_name(path.name + suffix).unlink(missing_ok=True)
        try:
            self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute("PRAGMA synchronous=FULL")
            self._database.execute(_CREATE)
            row = self._database.execute("SELECT max(sequence) FROM results").fetchone()
        except sqlite3.Error as error:
            raise ConfigError("--sink", f"'{path}' cannot be opened: {error}") from error
        self.highest: int = NONE if row[0] is None else row[0]

    def take(self, results: Sequence[Result]) -> None:
        """Insert rows; those of sequences that are there are left as they are."""
        try:
            self._database.execute("BEGIN IMMEDIATE")
            self._database.executemany(_INSERT, [self._row(r) for r in results])
            self._database.execute("COMMIT")
        except sqlite3.Error as error:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            raise ConfigError(self._where, f"cannot be written: {error}") from error
        self.highest = max(self.highest, results[-1].sequence)

    def is_prompt(self, results: Sequence[Result]) -> bool:
        """Return False: it waits for the disk."""
        return False

    def sync(self) -> int:
        """Do nothing: each transaction is on the disk."""
        return 0

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def _row(self, result: Result) -> tuple[object, ...]:
        return (
            result.sequence, result.label, _encoder.encode(result.output).decode(), result.where,
            result.partition_point, result.encoding, result.latency_s, result.head_s,
            result.tail_s, result.tx_bytes, result.compute_j, result.tx_j,
            result.bundle or self._bundle, result.sample,
        )  # fmt: skip
