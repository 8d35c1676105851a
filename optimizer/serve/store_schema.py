"""The file of the jobs: its schema, and how it is opened."""

import sqlite3
from pathlib import Path

from headtail.errors import ConfigError

APPLICATION_ID = 0x48544A42  # "HTJB", in the header of the file
# Script n makes version n of version n - 1; a script that was released is never changed.
MIGRATIONS = (
    (
        """CREATE TABLE jobs (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            id TEXT NOT NULL UNIQUE,
            name TEXT NOT NULL, reason TEXT NOT NULL, submitter TEXT NOT NULL,
            key TEXT, request_sha256 TEXT NOT NULL,
            recipe BLOB NOT NULL, recipe_sha256 TEXT NOT NULL, seed INTEGER,
            cpus INTEGER NOT NULL, gpus INTEGER NOT NULL, memory_bytes INTEGER NOT NULL,
            state TEXT NOT NULL
                CHECK (state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
            is_cancel_requested INTEGER NOT NULL DEFAULT 0,
            created_s REAL NOT NULL, started_s REAL, finished_s REAL,
            attempts INTEGER NOT NULL DEFAULT 0, crashes INTEGER NOT NULL DEFAULT 0,
            cores TEXT NOT NULL DEFAULT '', devices TEXT NOT NULL DEFAULT '',
            stage TEXT NOT NULL DEFAULT '', done INTEGER NOT NULL DEFAULT 0,
            total INTEGER NOT NULL DEFAULT 0, note TEXT NOT NULL DEFAULT '',
            bundle TEXT NOT NULL DEFAULT '', digest TEXT NOT NULL DEFAULT '',
            error TEXT NOT NULL DEFAULT '',
            lines INTEGER NOT NULL DEFAULT 0,
            events_bytes INTEGER NOT NULL DEFAULT 0, output_bytes INTEGER NOT NULL DEFAULT 0)""",
        "CREATE UNIQUE INDEX jobs_by_key ON jobs (submitter, key) WHERE key IS NOT NULL",
        "CREATE INDEX jobs_by_state ON jobs (state)",
        """CREATE TABLE lines (
            job INTEGER NOT NULL REFERENCES jobs (number) ON DELETE CASCADE,
            number INTEGER NOT NULL, time_s REAL NOT NULL, text TEXT NOT NULL,
            PRIMARY KEY (job, number)) WITHOUT ROWID""",
    ),
    ("ALTER TABLE jobs ADD COLUMN version TEXT NOT NULL DEFAULT ''",),
)
VERSION = len(MIGRATIONS)


def open_database(path: Path) -> sqlite3.Connection:
    """Open the file, or make it, and bring it to the present schema; transactions are explicit.

    Raises:
        ConfigError: If it cannot be opened, is another program's or of a newer version.
    """
    try:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    except sqlite3.Error as error:
        raise ConfigError(str(path), f"cannot be opened: {error}") from error
    try:
        _prepare(connection, path)
    except sqlite3.Error as error:
        connection.close()
        raise ConfigError(str(path), f"cannot be used: {error}") from error
    except ConfigError:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA foreign_keys = ON")
    owner = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    is_new = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0
    if not is_new and owner != APPLICATION_ID:
        raise ConfigError(str(path), "is no file of jobs")
    if version > VERSION:
        raise ConfigError(str(path), f"expected schema version 1 to {VERSION}, received {version}")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("BEGIN IMMEDIATE")
    for script in MIGRATIONS[version:]:
        for statement in script:
            connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {VERSION}")
    connection.execute("COMMIT")
