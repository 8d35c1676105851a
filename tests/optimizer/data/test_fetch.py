"""Tests of the download against a real HTTP server on this machine."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from file_server import FileServer, deserted_url, serving

from headtail.errors import DataError
from optimizer.data.fetch import CHBMIT_SEIZURES, SUMS, fetch_chbmit, fetch_mitbih

RECORDS = ("100", "101")
FILES = {
    f"{record}{suffix}": f"{record}{suffix} ".encode() * 20_000
    for record in RECORDS
    for suffix in (".hea", ".dat", ".atr")
}


@pytest.fixture
def server() -> Iterator[FileServer]:
    """Return a running server with two records of MIT-BIH."""
    with serving() as running:
        running.files = with_sums(FILES)
        yield running


def with_sums(files: dict[str, bytes]) -> dict[str, bytes]:
    """Return the files and the list of their checksums."""
    sums = "".join(f"{hashlib.sha256(c).hexdigest()} {n}\n" for n, c in files.items())
    return {**files, SUMS: sums.encode()}


def names(folder: Path) -> set[str]:
    """Return what lies in the folder."""
    return {path.name for path in folder.iterdir()}


def test_every_file_arrives_with_progress(server: FileServer, tmp_path: Path) -> None:
    """All files come, each is announced, nothing else is left behind."""
    seen: list[tuple[int, int]] = []
    folder = fetch_mitbih(
        tmp_path / "new" / "mitdb",
        lambda _, done, total: seen.append((done, total)),
        server.url,
        RECORDS,
    )
    assert {*FILES, SUMS} == names(folder)
    assert all(content == (folder / name).read_bytes() for name, content in FILES.items())
    assert [(done, 6) for done in range(7)] == seen


def test_what_is_there_and_right_is_kept(server: FileServer, tmp_path: Path) -> None:
    """A second run asks for the checksums only; a damaged file is fetched again."""
    fetch_mitbih(tmp_path, base_url=server.url, records=RECORDS)
    server.requests.clear()
    fetch_mitbih(tmp_path, base_url=server.url, records=RECORDS)
    assert [(SUMS, None)] == server.requests
    (tmp_path / "100.dat").write_bytes(b"damaged")
    fetch_mitbih(tmp_path, base_url=server.url, records=RECORDS)
    assert FILES["100.dat"] == (tmp_path / "100.dat").read_bytes()


def test_broken_connection_is_continued(server: FileServer, tmp_path: Path) -> None:
    """A file that breaks off goes on where it stopped."""
    server.cut_after["100.dat"] = [70_000, 50_000]
    fetch_mitbih(tmp_path, base_url=server.url, records=RECORDS)
    assert FILES["100.dat"] == (tmp_path / "100.dat").read_bytes()
    ranges = [ranged for name, ranged in server.requests if name == "100.dat"]
    assert [None, "bytes=70000-", "bytes=120000-"] == ranges


def test_connection_that_keeps_breaking_is_named_and_resumed_later(
    server: FileServer, tmp_path: Path
) -> None:
    server.cut_after["101.atr"] = [10, 10, 10]
    with pytest.raises(DataError, match=r"101\.atr: broke off after 10 of 159980 bytes; run again"):
        fetch_mitbih(tmp_path, base_url=server.url, records=RECORDS)
    assert "101.atr" not in names(tmp_path)
    assert 30 == (tmp_path / "101.atr.part").stat().st_size
    fetch_mitbih(tmp_path, base_url=server.url, records=RECORDS)
    assert {*FILES, SUMS} == names(tmp_path)


def test_wrong_checksum_is_named_and_leaves_nothing(server: FileServer, tmp_path: Path) -> None:
    server.files["100.dat"] = FILES["100.dat"][:-1] + b"!"
    with pytest.raises(DataError, match=r"100\.dat: expected SHA-256 [0-9a-f]{64}, received"):
        fetch_mitbih(tmp_path, base_url=server.url, records=RECORDS)
    assert {"100.hea", SUMS} == names(tmp_path)


def test_part_of_another_file_is_started_anew(server: FileServer, tmp_path: Path) -> None:
    """A part longer than the file cannot be continued; it is fetched from its beginning."""
    (tmp_path / "100.hea.part").write_bytes(b"x" * 999_999)
    fetch_mitbih(tmp_path, base_url=server.url, records=RECORDS)
    assert FILES["100.hea"] == (tmp_path / "100.hea").read_bytes()


def test_missing_file_is_named(server: FileServer, tmp_path: Path) -> None:
    del server.files["101.hea"]
    with pytest.raises(DataError, match=r"101\.hea: HTTP 404 Not Found"):
        fetch_mitbih(tmp_path, base_url=server.url, records=RECORDS)


def test_list_without_a_checksum_is_refused(server: FileServer, tmp_path: Path) -> None:
    server.files[SUMS] = b"<html>log in</html>"
    with pytest.raises(DataError, match=r"SHA256SUMS\.txt: names no checksum of 100\.hea"):
        fetch_mitbih(tmp_path, base_url=server.url, records=RECORDS)
    assert set() == names(tmp_path)


def test_oversized_file_is_refused(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("optimizer.data.fetch.MAX_FILE_BYTES", 100_000)
    with pytest.raises(DataError, match=r"100\.hea: expected at most 100000 bytes"):
        fetch_mitbih(tmp_path, base_url=server.url, records=RECORDS)


def test_server_that_is_away_is_named(tmp_path: Path) -> None:
    """Nobody listens on the port of a server just closed."""
    with pytest.raises(DataError, match=r"127\.0\.0\.1:.*cannot be reached: .*refused"):
        fetch_mitbih(tmp_path, base_url=deserted_url())
    assert set() == names(tmp_path)


def test_folder_that_cannot_be_made_is_named(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="file: cannot be written"):
        fetch_mitbih(tmp_path / "file", base_url=server.url)


def test_other_schemes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="file:///etc: expected an http or https address"):
        fetch_mitbih(tmp_path, base_url="file:///etc")


CHBMIT = {
    "chb01/chb01-summary.txt": b"File Name: chb01_03.edf\n",
    "chb01/chb01_03.edf": b"edf " * 30_000,
    "chb02/chb02-summary.txt": b"File Name: chb02_16+.edf\n",
    "chb02/chb02_16+.edf": b"EDF " * 20_000,
    "chb06/chb06-summary.txt": b"File Name: chb06_01.edf\n",
    "chb06/chb06_01.edf": b"left out",
}


@pytest.fixture
def chbmit(server: FileServer) -> FileServer:
    """Return the server with CHB-MIT on it: three cases, one recording each."""
    recordings = [name for name in CHBMIT if name.endswith(".edf")]
    files = {**CHBMIT, CHBMIT_SEIZURES: "\n".join([*recordings, ""]).encode()}
    server.files = with_sums(files)
    return server


def test_chbmit_arrives_in_folders_of_cases(chbmit: FileServer, tmp_path: Path) -> None:
    """Recordings with seizures and their summaries come, a plus in a name and a break included."""
    chbmit.cut_after["chb01/chb01_03.edf"] = [70_000]
    seen: list[tuple[int, int]] = []
    folder = fetch_chbmit(
        tmp_path / "chbmit",
        lambda _, done, total: seen.append((done, total)),
        chbmit.url,
        skipped=("chb06",),
    )
    there = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
    assert {n for n in CHBMIT if "chb06" not in n} | {SUMS, CHBMIT_SEIZURES} == there
    assert all(CHBMIT[n] == (folder / n).read_bytes() for n in there & CHBMIT.keys())
    assert [(done, 4) for done in range(5)] == seen
    chbmit.requests.clear()
    fetch_chbmit(folder, base_url=chbmit.url, skipped=("chb06",))
    assert [(SUMS, None)] == chbmit.requests


@pytest.mark.parametrize(
    ("listed", "message"),
    [
        (b"../../etc/passwd\n", "expected a list of recordings such as"),
        (b"chb01/../../x.edf\n", "expected a list of recordings such as"),
        (b"chb06/chb06_01.edf\n", "names no recording"),
        (b"chb03/chb03_01.edf\n", "names no checksum of chb03/chb03-summary.txt"),
    ],
    ids=["outside", "climbing", "nothing", "unknown"],
)
def test_list_of_recordings_is_checked(
    chbmit: FileServer, tmp_path: Path, listed: bytes, message: str
) -> None:
    """What the list names stays in the folder and has a checksum."""
    before = chbmit.files[CHBMIT_SEIZURES]
    old, new = (hashlib.sha256(c).hexdigest().encode() for c in (before, listed))
    chbmit.files[SUMS] = chbmit.files[SUMS].replace(old, new)
    chbmit.files[CHBMIT_SEIZURES] = listed
    with pytest.raises(DataError, match=message):
        fetch_chbmit(tmp_path, base_url=chbmit.url, skipped=("chb06",))
    assert not list(tmp_path.rglob("*.edf"))


def test_chbmit_server_that_is_away_is_named(tmp_path: Path) -> None:
    """Up to the connection: nobody listens on the port of a server just closed."""
    with pytest.raises(DataError, match=r"127\.0\.0\.1:.*cannot be reached: .*refused"):
        fetch_chbmit(tmp_path, base_url=deserted_url())
