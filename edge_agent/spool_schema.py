"""The spool's file: what makes it ours, its schema versions, and how an older one becomes newer."""

import sqlite3
from pathlib import Path
from typing import Literal

from headtail.errors import SpoolError
from headtail.files import sync_folder

Synchronous = Literal["full", "normal", "off"]

APPLICATION_ID = 0x48545350  # "HTSP", in the header of the file
# Script n makes version n of version n - 1; a script that was released is never changed.
MIGRATIONS = (
    (
        """CREATE TABLE state (
            only INTEGER PRIMARY KEY CHECK (only = 1),
            source TEXT NOT NULL, sink TEXT NOT NULL,
            next INTEGER NOT NULL, sample INTEGER, place TEXT NOT NULL,
            sink_bytes INTEGER NOT NULL)""",
        """CREATE TABLE entries (
            sequence INTEGER PRIMARY KEY, sample INTEGER NOT NULL, truth INTEGER,
            bundle TEXT NOT NULL, point INTEGER NOT NULL, encoding TEXT NOT NULL,
            is_activation INTEGER NOT NULL, payload BLOB NOT NULL, crc INTEGER NOT NULL)""",
    ),
    (
        "ALTER TABLE entries ADD COLUMN stored_s REAL NOT NULL DEFAULT 0",
        "ALTER TABLE state ADD COLUMN dropped INTEGER NOT NULL DEFAULT 0",
    ),
)
VERSION = len(MIGRATIONS)
_MAGIC = b"SQLite format 3\0"
FAULTS = (sqlite3.Error, UnicodeDecodeError)
"""What sqlite3 raises over a file; the second where a damaged name stands in its own error."""
_BUSY, _READ_ONLY, _FULL, _CANNOT_OPEN = 5, 8, 13, 14  # primary result codes of SQLite
_CORRUPT, _NO_DATABASE = 11, 26


def open_database(path: Path, synchronous: Synchronous) -> sqlite3.Connection:
    """Open a spool's file, or make it, and bring it to the present schema.

    The file is locked until it is closed: one agent to a spool. Transactions are explicit.

    Args:
        path: The file; its folder exists.
        synchronous: `full` survives power loss, `normal` may lose the last commits to it, `off`
            may lose the whole file to it; all three survive the process.

    Raises:
        SpoolError: If the file cannot be opened, is another agent's, corrupt or of a newer version.
    """
    _check_magic(path)
    try:
        connection = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    except sqlite3.Error as error:
        raise fault(path, error) from error
    try:
        _prepare(connection, path, synchronous)
    except FAULTS as error:
        connection.close()
        raise fault(path, error) from error
    except SpoolError:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path, synchronous: Synchronous) -> None:
    connection.execute("PRAGMA locking_mode=EXCLUSIVE")
    # Reading first: what is no spool must not be turned into one.
    _check_ours(connection, path)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute(f"PRAGMA synchronous={synchronous}")
    connection.execute("BEGIN IMMEDIATE")
    first = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if first != "ok":
        raise corrupt(path, str(first))
    _migrate(connection)
    connection.execute("COMMIT")
    sync_folder(path.parent)


def _check_magic(path: Path) -> None:
    """Refuse a short file of anything else: SQLite would take it for an empty database."""
    if not path.exists():
        return
    try:
        with path.open("rb") as file:
            start = file.read(len(_MAGIC))
    except OSError as error:
        raise SpoolError(str(path), f"cannot be read: {error.strerror}") from error
    if start not in {b"", _MAGIC}:
        raise corrupt(path, "it is no database")


def _check_ours(connection: sqlite3.Connection, path: Path) -> None:
    owner = _pragma(connection, "application_id")
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    if owner != APPLICATION_ID and (owner or tables):
        raise SpoolError(str(path), "is a database of something else")
    version = _pragma(connection, "user_version")
    if version > VERSION:
        raise SpoolError(
            str(path),
            f"expected schema version 1 to {VERSION}, received {version}; upgrade headtail",
        )


def _migrate(connection: sqlite3.Connection) -> None:
    """Run the missing scripts; all of them are one transaction with what follows."""
    connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
    for script in MIGRATIONS[_pragma(connection, "user_version") :]:
        for statement in script:
            connection.execute(statement)
    connection.execute(f"PRAGMA user_version={VERSION}")


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])


def corrupt(path: Path, reason: str) -> SpoolError:
    """Return the error of a file whose content cannot be believed; nothing of it is touched."""
    return SpoolError(
        str(path), f"corrupt: {reason}; it is left as it is, move it away to begin anew"
    )


def fault(path: Path, error: sqlite3.Error | UnicodeDecodeError) -> SpoolError:
    """Return SQLite's error as ours: in use, full, not writable, or corrupt."""
    if isinstance(error, UnicodeDecodeError):
        return corrupt(path, "a text in it is no UTF-8")
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    text = str(error)
    if code == _BUSY:
        return SpoolError(str(path), "in use by another agent")
    if code == _FULL:
        return SpoolError(str(path), "cannot be written: No space left on device")
    if code in {_READ_ONLY, _CANNOT_OPEN}:
        return SpoolError(str(path), f"cannot be opened for writing: {text}")
    if code in {_CORRUPT, _NO_DATABASE}:
        return corrupt(path, text)
    return SpoolError(str(path), f"cannot be used: {text}")
