"""What processes write, brought into the store once, whatever is torn or too much."""

import subprocess
import sys
from pathlib import Path

import pytest
from serve_case import request

from optimizer.serve import intake as intakes
from optimizer.serve import spent_output
from optimizer.serve.folder import JobFolder
from optimizer.serve.intake import Intake, one_line
from optimizer.serve.spent_output import release
from optimizer.serve.store import JobStore


class Desk:
    """A job with its files and what reads them."""

    def __init__(self, folder: Path, most: int) -> None:
        self.store = JobStore(folder / "jobs.sqlite3")
        self.job = self.store.add(request(), 1)[0].id
        self.files = JobFolder(folder)
        self.intake = Intake(self.store, most, lambda: 5.0)

    def write(self, events: str = "", output: str = "") -> None:
        """Append to the files and read them."""
        for path, text in ((self.files.events, events), (self.files.output, output)):
            with path.open("ab") as file:
                file.write(text.encode())
        self.intake.read(self.job, self.files)

    @property
    def texts(self) -> list[str]:
        """What the log holds."""
        return [line.text for line in self.store.lines(self.job)]


@pytest.fixture
def desk(tmp_path: Path):
    """Return one that keeps four lines."""
    made = Desk(tmp_path, 4)
    yield made
    made.store.close()


def test_lines_count_once_they_are_whole(desk) -> None:
    """A process may be killed, or be slow, in the middle of one."""
    desk.write(output="one\ntw")
    assert ["one"] == desk.texts
    desk.write(output="o\n\n  \nthree")
    assert ["one", "two"] == desk.texts
    assert not desk.intake.read(desk.job, desk.files)
    assert desk.intake.read(desk.job, desk.files, is_over=True)
    assert ["one", "two", "three"] == desk.texts
    assert [1, 2, 3] == [line.number for line in desk.store.lines(desk.job)]


def test_only_the_last_lines_are_kept(desk) -> None:
    """Numbers go on, so that who watches knows what was missed."""
    desk.write(output="".join(f"{i}\n" for i in range(1, 11)))
    assert [(7, "7"), (8, "8"), (9, "9"), (10, "10")] == [
        (line.number, line.text) for line in desk.store.lines(desk.job)
    ]
    desk.intake.say(desk.job, "own")
    assert ["8", "9", "10", "own"] == desk.texts
    assert 11 == desk.store.get(desk.job).lines
    assert ["10", "own"] == [line.text for line in desk.store.lines(desk.job, 9)]


def test_events_become_progress_and_lines(desk) -> None:
    desk.write('{"event":"stage","stage":"train"}\nEpoch 1/3\n')
    assert "train" == desk.store.get(desk.job).progress.stage
    desk.write('{"event":"progress","stage":"train","done":2,"total":3,"note":"x"}\n')
    at = desk.store.get(desk.job).progress
    assert ("train", 2, 3, "x") == (at.stage, at.done, at.total, at.note)
    desk.write('{"event":"stage_ended","stage":"train","seconds":1.25}\n{"event":"unheard of"}\n')
    assert ["Epoch 1/3", "train                           1.2 s"] == desk.texts[:2]
    desk.write('{"event":"finished","bundle":"/a/b/c-1.bundle","digest":"ab"}\n')
    row = desk.store.row(desk.job)
    assert ("c-1.bundle", "ab") == (row["bundle"], row["digest"])
    assert desk.store.get(desk.job).result is None, "the service has not settled it"


def test_text_can_neither_drive_a_terminal_nor_begin_a_line(desk) -> None:
    desk.write(output="\x1b[2Jred\x07 \u2028x\x00\n")
    assert [" [2Jred   x"] == desk.texts
    assert 1000 == len(one_line("y" * 3000))


def test_line_without_end_is_cut(desk, monkeypatch) -> None:
    """Memory stays bounded; what follows is read."""
    monkeypatch.setattr(intakes, "READ_BYTES", 64)
    desk.write(output="x" * 150 + "\nlast\n")
    assert ["x" * 64, "x" * 64, "x" * 22, "last"] == desk.texts


def test_space_of_what_was_read_is_given_back(desk, monkeypatch) -> None:
    """And what comes after it is read as ever."""
    monkeypatch.setattr(intakes, "RELEASE_BYTES", 100_000)
    for _ in range(5):
        desk.write(output=("x" * 99 + "\n") * 1000)
    found = desk.files.output.stat()
    assert 500_000 == found.st_size
    if _can_release(desk.files.path):
        assert 512 * found.st_blocks < 100_000
    assert b"\n" == desk.files.output.read_bytes()[-1:]
    desk.write(output="after\n")
    assert "after" == desk.texts[-1]
    assert 5001 == desk.store.get(desk.job).lines


def test_no_line_is_lost_that_is_written_meanwhile(desk, monkeypatch) -> None:
    """By a process that never waits, while space is given back again and again."""
    monkeypatch.setattr(intakes, "RELEASE_BYTES", 1000)
    desk.intake = Intake(desk.store, 20_000)
    with desk.files.output.open("ab") as output:
        writer = subprocess.Popen(
            [sys.executable, "-uc", "for i in range(4000): print('line', i)"], stdout=output
        )
    with writer:
        while writer.poll() is None:
            desk.intake.read(desk.job, desk.files)
    desk.intake.read(desk.job, desk.files, is_over=True)
    lines = [line.text for line in desk.store.lines(desk.job, limit=20_000)]
    assert [f"line {i}" for i in range(4000)] == lines


def test_what_was_written_since_it_was_read_stays(tmp_path) -> None:
    """Nor does the file get shorter: who reads on reads on where it was."""
    path = tmp_path / "output.log"
    path.write_bytes(b"x" * 8191 + b"\n")
    with path.open("ab") as late:
        late.write(b"late\n")
    release(path, 8192)
    assert b"\nlate\n" == path.read_bytes()[8191:]


def test_file_system_that_cannot_give_space_back_is_told(desk, monkeypatch, caplog) -> None:
    """The lines are read all the same."""
    monkeypatch.setattr(spent_output, "_PUNCH_HOLE", 1 << 30)  # a mode that there is not
    monkeypatch.setattr(intakes, "RELEASE_BYTES", 10)
    desk.write(output="a line of its own\n")
    assert "keeps its space: Operation not supported" in caplog.text
    assert ["a line of its own"] == desk.texts


def _can_release(folder: Path) -> bool:
    path = folder / "probe"
    path.write_bytes(b"x" * 65536)
    release(path, 65536)
    return path.stat().st_blocks * 512 < 65536


def test_bytes_that_are_no_text_are_shown_as_such(desk) -> None:
    desk.files.output.write_bytes(b"\xff\xfe ok\n")
    desk.intake.read(desk.job, desk.files)
    assert ["\ufffd\ufffd ok"] == desk.texts
