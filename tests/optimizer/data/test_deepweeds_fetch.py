"""Tests of DeepWeeds' download against a real HTTP server on this machine."""

import io
import zipfile
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from file_server import FileServer, deserted_url, serving
from images_case import draw

from headtail.errors import DataError
from optimizer.cli import main
from optimizer.data import deepweeds_fetch
from optimizer.data.dataset import DataConfig
from optimizer.data.deepweeds_fetch import OFFICIAL, DeepWeedsSite, fetch_deepweeds
from optimizer.data.images_config import ImagesConfig
from optimizer.data.load import load

ARCHIVE = "download?id=images.zip&confirm=t"
NAMES = [f"20160928-1403{i:02}-{i % 4}.jpg" for i in range(40)]


def archive(folder: Path, names: list[str], prefix: str = "") -> bytes:
    """Return a zip of drawn images."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as members:
        for i, name in enumerate(names):
            draw(folder / "drawn" / name, i, (8, 8))
            members.write(folder / "drawn" / name, prefix + name)
    return held.getvalue()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FileServer]:
    """Return a running server with forty images, two classes and one fold."""
    with serving() as running:
        rows = [f"{name},{i % 2},{'weed' if i % 2 else 'rest'}" for i, name in enumerate(NAMES)]
        running.files["labels/labels.csv"] = "\n".join(
            ["Filename,Label,Species", *rows, ""]
        ).encode()
        for part, names in (("train", NAMES[:24]), ("val", NAMES[24:32]), ("test", NAMES[32:])):
            lines = [f"{name},{NAMES.index(name) % 2}" for name in names]
            running.files[f"labels/{part}_subset0.csv"] = "\n".join(
                ["Filename,Label", *lines]
            ).encode()
        running.files[ARCHIVE] = archive(tmp_path, NAMES)
        yield running


def site(server: FileServer) -> DeepWeedsSite:
    """Return the same layout as the official one, with an archive behind a query."""
    sums = {n.removeprefix("labels/"): sha256(c).hexdigest() for n, c in server.files.items()}
    sums["images.zip"] = sums.pop(ARCHIVE)
    return DeepWeedsSite(f"{server.url}/labels", f"{server.url}/{ARCHIVE}", sums)


def test_all_comes_and_loads(server: FileServer, tmp_path: Path) -> None:
    """Broken off twice, continued, unpacked, and no archive left behind."""
    server.cut_after[ARCHIVE] = [500, 900]
    seen: list[str] = []
    folder = fetch_deepweeds(
        tmp_path / "new" / "deepweeds", lambda what, done, total: seen.append(what), site(server)
    )
    ranges = [ranged for path, ranged in server.requests if "download" in path]
    assert [None, "bytes=500-", "bytes=1400-"] == ranges
    tables = {name.removeprefix("labels/") for name in server.files} - {ARCHIVE}
    assert tables | {"images"} == {p.name for p in folder.iterdir()}
    assert {"fetching images.zip, bytes", "unpacking images", "fetched DeepWeeds"} <= {*seen}
    images = ImagesConfig(height=8, width=8)
    dataset = load(
        DataConfig(source="deepweeds", path=str(folder), protocol="given", images=images)
    )
    assert [24, 8, 8] == [len(split) for split in dataset.splits.values()]
    assert 0 == dataset.notes["skipped"]


def test_what_is_there_and_right_is_kept(server: FileServer, tmp_path: Path) -> None:
    folder = fetch_deepweeds(tmp_path / "w", site=site(server))
    server.requests.clear()
    fetch_deepweeds(folder, site=site(server))
    assert [] == server.requests
    (folder / "images" / NAMES[3]).unlink()
    (folder / "labels.csv").write_text("damaged")
    fetch_deepweeds(folder, site=site(server))
    assert 2 == len(server.requests)
    assert (folder / "images" / NAMES[3]).is_file()


def test_paths_in_the_archive_lead_nowhere(server: FileServer, tmp_path: Path) -> None:
    """Members go into `images` under their names, wherever they claim to lie."""
    server.files[ARCHIVE] = archive(tmp_path, NAMES, "../../outside/")
    folder = fetch_deepweeds(tmp_path / "a" / "b" / "w", site=site(server))
    assert {*NAMES} == {p.name for p in (folder / "images").iterdir()}
    assert not list(tmp_path.rglob("outside"))


def test_archive_that_lacks_an_image_is_named(server: FileServer, tmp_path: Path) -> None:
    server.files[ARCHIVE] = archive(tmp_path, NAMES[2:])
    with pytest.raises(DataError, match=rf"images\.zip: lacks 2 images, first {NAMES[0]}"):
        fetch_deepweeds(tmp_path / "w", site=site(server))
    assert not (tmp_path / "w" / "images").exists()


def test_archive_that_is_none_is_named(server: FileServer, tmp_path: Path) -> None:
    server.files[ARCHIVE] = b"PK but not much more"
    with pytest.raises(DataError, match=r"images\.zip: cannot be unpacked: "):
        fetch_deepweeds(tmp_path / "w", site=site(server))


def test_page_in_the_place_of_the_archive_is_named(server: FileServer, tmp_path: Path) -> None:
    """Drive answers with a page where it wants a confirmation."""
    before = site(server)
    server.files[ARCHIVE] = b"<html>cannot scan this file for viruses</html>"
    with pytest.raises(DataError, match=r"download\?id=.*: expected SHA-256 [0-9a-f]{64}, rec"):
        fetch_deepweeds(tmp_path / "w", site=before)


def test_oversized_image_is_refused(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deepweeds_fetch, "MAX_IMAGE_BYTES", 20)
    with pytest.raises(DataError, match="expected at most 20 bytes, received"):
        fetch_deepweeds(tmp_path / "w", site=site(server))


def test_command_reaches_for_the_official_site(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Up to the connection: nobody listens on the port of a server just closed."""
    url = deserted_url()
    away = DeepWeedsSite(f"{url}/labels", f"{url}/{ARCHIVE}", OFFICIAL.sums)
    monkeypatch.setattr(deepweeds_fetch, "OFFICIAL", away)
    assert main(["data", "fetch", "deepweeds", "--to", str(tmp_path)]) != 0
    error = capsys.readouterr().err
    assert "cannot be reached: " in error
    assert 16 == len([name for name in OFFICIAL.sums if name.endswith(".csv")])


def test_other_schemes_are_refused(tmp_path: Path) -> None:
    local = DeepWeedsSite("file:///etc", "file:///etc", {})
    with pytest.raises(DataError, match="file:///etc: expected an http or https address"):
        fetch_deepweeds(tmp_path, site=local)
