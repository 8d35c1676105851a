"""Where rollouts are remembered: one SQLite file beside the bundles.

SQLite, since a change has to be whole or not at all whenever the power goes, and since several
servers may share the folder: its locks make their changes come one after another, and a change
made for an older generation is refused. It is in the standard library. The folder has to be on a
file system whose locks work, so not on every NFS.
"""

import logging
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec

from fog_server.rollout.state import Model
from headtail.errors import ConfigError, Overloaded, Superseded

log = logging.getLogger(__name__)

APPLICATION_ID = 0x48_54_52_6F  # "HTRo"
VERSION = 1
_SCHEMA = """
CREATE TABLE models (name TEXT PRIMARY KEY, generation INTEGER NOT NULL, content BLOB NOT NULL);
CREATE TABLE agents (
  name TEXT NOT NULL, agent TEXT NOT NULL, heard_at_s REAL NOT NULL, content BLOB NOT NULL,
  PRIMARY KEY (name, agent)
) WITHOUT ROWID;
CREATE TABLE tails (
  name TEXT NOT NULL, attempt INTEGER NOT NULL, digest TEXT NOT NULL, windows INTEGER NOT NULL,
  failed INTEGER NOT NULL, shadowed INTEGER NOT NULL, agreed INTEGER NOT NULL,
  PRIMARY KEY (name, attempt, digest)
) WITHOUT ROWID;
"""
MAX_AGENTS = 10_000
"""Agents that are remembered: without certificates anybody may say to be another one."""
LOCK_S = 10.0
"""How long a change waits for another server's."""
_RETRY_S = 1.0
_FULL = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR})

Step = Callable[[Model], Model]
"""A change of one model; raises where it cannot be made."""


class AgentRow(NamedTuple):
    """What is known of one agent; `content` is the owner's."""

    name: str
    agent: str
    heard_at_s: float
    content: bytes


class TailCounts(NamedTuple):
    """What this fog saw of one bundle while a canary ran."""

    windows: int = 0
    failed: int = 0
    shadowed: int = 0
    agreed: int = 0

    def plus(self, other: "TailCounts") -> "TailCounts":
        """Return the sum."""
        return TailCounts(*(a + b for a, b in zip(self, other, strict=True)))


class Database:
    """Models, agents and counts; several threads, and several servers, may use it at once."""

    def __init__(self, path: Path) -> None:
        """Open or make the file.

        Raises:
            ConfigError: If it cannot be opened, or is not ours.
        """
        self._path = path
        self._lock = threading.RLock()
        self._models: dict[str, Model] = {}
        self._seen = -1
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(
                path, timeout=LOCK_S, isolation_level=None, check_same_thread=False
            )
            self._prepare()
        except OSError as error:
            raise ConfigError(str(path), f"cannot be made: {error.strerror}") from error
        except sqlite3.Error as error:
            raise ConfigError(str(path), f"cannot be opened: {error}") from error

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def models(self) -> Mapping[str, Model]:
        """Return every model by name, as it is now; cheap where nothing was changed."""
        with self._lock, self._faults():
            seen = self._connection.execute("PRAGMA data_version").fetchone()[0]
            if seen != self._seen:
                self._models = self._read_models()
                self._seen = seen
            return self._models

    def change(
        self,
        name: str,
        step: Step,
        expected: int | None = None,
        before_commit: Callable[[Model], None] = lambda model: None,
    ) -> Model:
        """Change one model, whole or not at all; return it as it then is.

        Args:
            name: The model's; one that is not known begins empty.
            step: The change; what it returns unchanged is not written.
            expected: Generation for which the change was made; None is any.
            before_commit: Called with the new state while nobody else can change any.

        Raises:
            Superseded: If it is of another generation.
            Overloaded: If there is no room on the disk, or the file stays locked.
        """
        with self._lock:
            with self._transaction():
                row = self._connection.execute(
                    "SELECT content FROM models WHERE name = ?", (name,)
                ).fetchone()
                before = msgspec.json.decode(row[0], type=Model) if row else Model(name)
                if expected is not None and expected != before.generation:
                    raise Superseded(f"model '{name}'", _late(before, expected))
                after = step(before)
                if after == before:
                    return before
                before_commit(after)
                self._connection.execute(
                    "INSERT OR REPLACE INTO models VALUES (?, ?, ?)",
                    (name, after.generation, msgspec.json.encode(after)),
                )
            # Before anybody else's change: one made meanwhile must not be hidden by this one.
            self._models = {**self._models, name: after}
            return after

    @contextmanager
    def locked(self) -> Iterator[Mapping[str, Model]]:
        """Hold every other server's changes off; give the models as they are."""
        with self._lock, self._transaction():
            yield self._read_models()

    def agents(self, name: str, heard_after_s: float) -> Sequence[AgentRow]:
        """Return the agents of a model that were heard of since."""
        with self._lock, self._faults():
            rows = self._connection.execute(
                "SELECT * FROM agents WHERE name = ? AND heard_at_s > ? ORDER BY agent",
                (name, heard_after_s),
            )
            return [AgentRow(*row) for row in rows]

    def update_agents(
        self, keys: Sequence[tuple[str, str]], update: Callable[[str, str, bytes | None], AgentRow]
    ) -> None:
        """Replace what is known of some agents, given as (name, agent), in one transaction."""
        with self._lock, self._transaction():
            for name, agent in keys:
                row = self._connection.execute(
                    "SELECT content FROM agents WHERE name = ? AND agent = ?", (name, agent)
                ).fetchone()
                new = update(name, agent, row[0] if row else None)
                self._connection.execute("INSERT OR REPLACE INTO agents VALUES (?, ?, ?, ?)", new)

    def forget_agents(self, heard_before_s: float) -> None:
        """Forget who was not heard of since, and of very many those heard of longest ago."""
        with self._lock, self._transaction():
            self._connection.execute("DELETE FROM agents WHERE heard_at_s < ?", (heard_before_s,))
            self._connection.execute(
                "DELETE FROM agents WHERE (name, agent) IN (SELECT name, agent FROM agents"
                " ORDER BY heard_at_s DESC LIMIT -1 OFFSET ?)",
                (MAX_AGENTS,),
            )

    def add_tails(self, counts: Mapping[tuple[str, int, str], TailCounts]) -> None:
        """Add to the counts by model, attempt and digest."""
        with self._lock, self._transaction():
            for key, more in counts.items():
                self._connection.execute(
                    "INSERT INTO tails VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
                    " windows = windows + excluded.windows, failed = failed + excluded.failed,"
                    " shadowed = shadowed + excluded.shadowed, agreed = agreed + excluded.agreed",
                    (*key, *more),
                )
                # Older trials are over; nobody asks for them.
                self._connection.execute(
                    "DELETE FROM tails WHERE name = ? AND attempt < ?", key[:2]
                )

    def tails(self, name: str, attempt: int) -> Mapping[str, TailCounts]:
        """Return the counts of one trial by digest."""
        with self._lock, self._faults():
            rows = self._connection.execute(
                "SELECT digest, windows, failed, shadowed, agreed FROM tails"
                " WHERE name = ? AND attempt = ?",
                (name, attempt),
            )
            return {row[0]: TailCounts(*row[1:]) for row in rows}

    def _prepare(self) -> None:
        run = self._connection.execute
        # A rollback journal, unlike a write-ahead log, needs no memory shared among the servers.
        run("PRAGMA journal_mode = DELETE")
        run("PRAGMA synchronous = EXTRA")
        run("BEGIN IMMEDIATE")
        found = (
            run("PRAGMA application_id").fetchone()[0],
            run("PRAGMA user_version").fetchone()[0],
        )
        tables = run("SELECT count(*) FROM sqlite_schema").fetchone()[0]
        if found == (0, 0) and not tables:
            for statement in _SCHEMA.split(";"):
                run(statement)
            run(f"PRAGMA application_id = {APPLICATION_ID}")
            run(f"PRAGMA user_version = {VERSION}")
        elif found != (APPLICATION_ID, VERSION):
            run("ROLLBACK")
            self._connection.close()
            raise ConfigError(
                str(self._path), f"expected a rollout of version {VERSION}, found {found}"
            )
        run("COMMIT")

    def _read_models(self) -> dict[str, Model]:
        rows = self._connection.execute("SELECT name, content FROM models ORDER BY name")
        return {name: msgspec.json.decode(content, type=Model) for name, content in rows}

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._faults():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            reason = "no room on disk" if code in _FULL else "cannot be used"
            raise Overloaded(str(self._path), f"{reason}: {error}", _RETRY_S) from error
        except msgspec.DecodeError as error:
            raise ConfigError(str(self._path), f"holds what cannot be read: {error}") from error


def _late(model: Model, expected: int) -> str:
    event = model.events[0] if model.events else None
    last = f" ({event.action} of {event.version} by {event.by})" if event else ""
    return f"it was made for generation {expected}, now it is {model.generation}{last}"
