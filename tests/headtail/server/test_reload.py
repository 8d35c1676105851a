"""Files that change while the server runs."""

from pathlib import Path

import pytest

from headtail.errors import ConfigError
from headtail.server.reload import Watched


class Files:
    """Two files that must agree, and a clock to turn."""

    def __init__(self, folder: Path) -> None:
        self.paths = [folder / "a", folder / "b"]
        self.now = 0.0
        self.reads = 0
        self.during_read = lambda: None
        self.write("1", "1")
        self.watched = Watched(self.paths, self.read, 1.0, lambda: self.now)

    def write(self, *contents: str) -> None:
        """Replace both files."""
        for path, content in zip(self.paths, contents, strict=True):
            path.write_text(content)

    def read(self) -> str:
        """Return what both files hold."""
        self.reads += 1
        first = self.paths[0].read_text()
        self.during_read()
        if first != self.paths[1].read_text():
            raise ConfigError("a", "does not fit b")
        return first

    def get(self) -> str:
        """Return the content a second later."""
        self.now += 1.0
        return self.watched.get()


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """Return two files."""
    return Files(tmp_path)


def test_files_are_read_when_they_change_and_not_otherwise(files) -> None:
    assert ["1", "1"] == [files.get(), files.get()]
    assert 1 == files.reads
    files.write("22", "22")
    assert ["22", "22"] == [files.get(), files.get()]
    assert 2 == files.reads


def test_files_are_looked_at_no_more_often_than_agreed(files) -> None:
    files.write("22", "22")
    assert "1" == files.watched.get()
    files.now += 0.99
    assert "1" == files.watched.get()
    files.now += 0.02
    assert "22" == files.watched.get()


def test_bad_files_are_said_once_and_change_nothing(files, caplog) -> None:
    files.write("2", "33")
    assert ["1", "1", "1"] == [files.get() for _ in range(3)]
    assert 1 == caplog.text.count("a: does not fit b; going on with what was read before")
    files.write("33", "33")
    assert "33" == files.get()


def test_files_that_are_gone_change_nothing(files) -> None:
    files.paths[0].unlink()

    def gone() -> str:
        raise ConfigError("a", "cannot be read")

    files.watched._read = gone
    assert "1" == files.get()


def test_files_that_change_while_they_are_read_are_read_again(files) -> None:
    """What was read in between may be of two generations."""
    files.write("22", "22")
    files.during_read = lambda: files.write("333", "333")
    assert "1" == files.get()
    files.during_read = lambda: None
    assert "333" == files.get()


def test_first_read_must_succeed(tmp_path: Path) -> None:
    def bad() -> str:
        raise ConfigError("a", "is bad")

    with pytest.raises(ConfigError, match="a: is bad"):
        Watched([tmp_path / "a"], bad, 1.0)
