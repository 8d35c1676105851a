"""The rollout's database: whole or not at all, and one order for everybody."""

import signal
import sqlite3
import subprocess
import sys
import threading

import msgspec
import pytest

from fog_server.rollout.database import AgentRow, Database, TailCounts
from fog_server.rollout.state import Model
from headtail.errors import ConfigError, Overloaded, Superseded


def grown(model: Model) -> Model:
    """Return the next generation."""
    return msgspec.structs.replace(model, generation=model.generation + 1)


@pytest.fixture
def path(tmp_path):
    """Return where the database is."""
    return tmp_path / "rollout.db"


@pytest.fixture
def open_database(path):
    """Return what opens it; all are closed afterwards."""
    opened = []

    def make():
        opened.append(Database(path))
        return opened[-1]

    yield make
    for database in opened:
        database.close()


def test_what_one_server_changes_the_other_sees(open_database):
    first, second = open_database(), open_database()
    assert {} == dict(second.models())
    first.change("ecg", grown)
    assert 1 == second.models()["ecg"].generation
    second.change("ecg", grown, 1)
    assert 2 == first.models()["ecg"].generation


def test_of_two_changes_for_one_generation_the_second_is_refused(open_database):
    first, second = open_database(), open_database()
    first.change("ecg", grown, 0)
    with pytest.raises(Superseded, match="made for generation 0, now it is 1"):
        second.change("ecg", grown, 0)
    assert 1 == second.models()["ecg"].generation


def test_many_writers_lose_no_change(open_database):
    """Every one of 4 x 10 changes through two connections counts."""
    databases = [open_database(), open_database()]

    def work(database):
        for _ in range(10):
            database.change("ecg", grown)

    threads = [threading.Thread(target=work, args=(databases[i % 2],)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [40, 40] == [d.models()["ecg"].generation for d in databases]


class Handover:
    """A lock after whose first release another thread has its turn at once."""

    def __init__(self, lock, turn):
        self._lock, self._turn, self._depth = lock, turn, 0

    def __enter__(self):
        self._lock.acquire()
        self._depth += 1

    def __exit__(self, *error):
        self._depth -= 1
        self._lock.release()
        if not self._depth and self._turn is not None:
            turn, self._turn = self._turn, None
            turn()


def test_change_of_another_thread_is_not_hidden(open_database):
    """The one that comes second is what everybody sees, however the threads take turns."""
    database = open_database()
    database.models()
    database._lock = Handover(database._lock, lambda: database.change("ecg", grown))
    assert 1 == database.change("ecg", grown).generation
    assert 2 == database.models()["ecg"].generation


def test_change_that_fails_before_the_commit_changes_nothing(open_database):
    database = open_database()

    def fail(model):
        raise OSError("no")

    with pytest.raises(OSError, match="no"):
        database.change("ecg", grown, before_commit=fail)
    assert {} == dict(database.models())
    assert 1 == database.change("ecg", grown).generation


KILLED = """
import os, signal, sys
from pathlib import Path
import msgspec
from fog_server.rollout.database import Database
database = Database(Path(sys.argv[1]))
grown = lambda m: msgspec.structs.replace(m, generation=m.generation + 1)
database.change("ecg", grown)
database.change("ecg", grown, before_commit=lambda m: os.kill(os.getpid(), signal.SIGKILL))
"""


def test_killed_in_a_change_it_is_as_before(path, open_database):
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    assert -signal.SIGKILL == done.returncode
    assert 1 == open_database().models()["ecg"].generation


def test_agents_and_counts_are_kept_apart_by_model(open_database):
    database = open_database()
    rows = {("ecg", "a"): b"1", ("eeg", "a"): b"2"}
    database.update_agents(
        list(rows), lambda name, agent, old: AgentRow(name, agent, 5.0, rows[name, agent])
    )
    assert [AgentRow("ecg", "a", 5.0, b"1")] == list(database.agents("ecg", 4.0))
    assert [] == list(database.agents("ecg", 5.0))
    database.add_tails({("ecg", 3, "d"): TailCounts(2, 0, 1, 1), ("eeg", 3, "d"): TailCounts(9)})
    database.add_tails({("ecg", 3, "d"): TailCounts(1, 1, 0, 0)})
    assert {"d": TailCounts(3, 1, 1, 1)} == dict(database.tails("ecg", 3))
    database.add_tails({("ecg", 7, "d"): TailCounts(1)})
    assert {} == dict(database.tails("ecg", 3))


def test_of_very_many_agents_the_latest_are_remembered(open_database, monkeypatch):
    monkeypatch.setattr("fog_server.rollout.database.MAX_AGENTS", 3)
    database = open_database()
    keys = [("ecg", str(i)) for i in range(5)]
    database.update_agents(keys, lambda name, agent, old: AgentRow(name, agent, float(agent), b""))
    database.forget_agents(0.0)
    assert ["2", "3", "4"] == [row.agent for row in database.agents("ecg", -1.0)]


def test_content_that_cannot_be_read_is_said(open_database, path):
    """As after a newer version has written it."""
    database = open_database()
    database.change("ecg", grown)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("UPDATE models SET content = '{\"name\": 3}'")
    other.close()
    with pytest.raises(ConfigError, match="holds what cannot be read"):
        database.models()


def test_file_that_is_no_rollout_is_refused(path):
    path.write_bytes(b"x" * 4096)
    with pytest.raises(ConfigError, match="not a database"):
        Database(path)
    path.unlink()
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE t (x)")
    other.close()
    with pytest.raises(ConfigError, match="expected a rollout of version 1"):
        Database(path)


def test_full_disk_leaves_it_as_it_was(open_database):
    """SQLite is told that no page more may be had."""
    database = open_database()
    database.change("ecg", grown)
    pages = database._connection.execute("PRAGMA page_count").fetchone()[0]
    database._connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(Overloaded, match="no room on disk"):
        database.change("large", lambda m: msgspec.structs.replace(m, previous="x" * 100_000))
    assert {"ecg"} == set(database.models())
    assert 2 == database.change("ecg", grown).generation
