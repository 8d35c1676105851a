"""Tests of DeepWeeds' download against a real HTTP server on this machine."""

import hashlib
import io
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from images_case import draw

from headtail.errors import DataError
from optimizer.cli import main
from optimizer.data import deepweeds_fetch
from optimizer.data.dataset import DataConfig
from optimizer.data.deepweeds_fetch import OFFICIAL, DeepWeedsSite, fetch_deepweeds
from optimizer.data.images_config import ImagesConfig
from optimizer.data.load import load

NAMES = [f"20160928-1403{i:02}-{i % 4}.jpg" for i in range(40)]


class WeedServer(ThreadingHTTPServer):
    """Serves files with ranges; can break one off."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.cut_after: list[int] = []
        """Bytes after which the connection breaks, for one request of the archive after another."""
        self.requests: list[tuple[str, str | None]] = []

    @property
    def site(self) -> DeepWeedsSite:
        """The same layout as the official one, with an archive behind a query."""
        url = f"http://127.0.0.1:{self.server_port}"
        sums = {n: hashlib.sha256(content).hexdigest() for n, content in self.files.items()}
        return DeepWeedsSite(f"{url}/labels", f"{url}/download?id=images.zip&confirm=t", sums)


class Handler(BaseHTTPRequestHandler):
    """Answers GET with 200, 206 or 404."""

    server: WeedServer

    def do_GET(self) -> None:
        """Send a file or the rest of it."""
        self.server.requests.append((self.path, self.headers["Range"]))
        is_archive = self.path.startswith("/download?id=images.zip")
        name = "images.zip" if is_archive else self.path.removeprefix("/labels/")
        content = self.server.files.get(name)
        if content is None:
            self.send_error(404)
            return
        start = int((self.headers["Range"] or "bytes=0-")[6:-1])
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        is_cut = is_archive and self.server.cut_after
        end = start + self.server.cut_after.pop(0) if is_cut else len(content)
        self.wfile.write(content[start:end])

    def log_message(self, *args: object) -> None:
        """Stay silent."""


def archive(folder: Path, names: list[str], prefix: str = "") -> bytes:
    """Return a zip of drawn images."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as members:
        for i, name in enumerate(names):
            draw(folder / "drawn" / name, i, (8, 8))
            members.write(folder / "drawn" / name, prefix + name)
    return held.getvalue()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[WeedServer]:
    """Return a running server with forty images, two classes and one fold."""
    running = WeedServer()
    rows = [f"{name},{i % 2},{'weed' if i % 2 else 'rest'}" for i, name in enumerate(NAMES)]
    running.files["labels.csv"] = "\n".join(["Filename,Label,Species", *rows, ""]).encode()
    for part, names in (("train", NAMES[:24]), ("val", NAMES[24:32]), ("test", NAMES[32:])):
        lines = [f"{name},{NAMES.index(name) % 2}" for name in names]
        running.files[f"{part}_subset0.csv"] = "\n".join(["Filename,Label", *lines]).encode()
    running.files["images.zip"] = archive(tmp_path, NAMES)
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield running
    running.shutdown()
    thread.join()
    running.server_close()


def test_all_comes_and_loads(server: WeedServer, tmp_path: Path) -> None:
    """Broken off twice, continued, unpacked, and no archive left behind."""
    server.cut_after = [500, 900]
    seen: list[str] = []
    folder = fetch_deepweeds(
        tmp_path / "new" / "deepweeds", lambda what, done, total: seen.append(what), server.site
    )
    ranges = [ranged for path, ranged in server.requests if "download" in path]
    assert [None, "bytes=500-", "bytes=1400-"] == ranges
    assert {*server.files, "images"} - {"images.zip"} == {p.name for p in folder.iterdir()}
    assert {"fetching images.zip, bytes", "unpacking images", "fetched DeepWeeds"} <= {*seen}
    images = ImagesConfig(height=8, width=8)
    dataset = load(
        DataConfig(source="deepweeds", path=str(folder), protocol="given", images=images)
    )
    assert [24, 8, 8] == [len(split) for split in dataset.splits.values()]
    assert 0 == dataset.notes["skipped"]


def test_what_is_there_and_right_is_kept(server: WeedServer, tmp_path: Path) -> None:
    folder = fetch_deepweeds(tmp_path / "w", site=server.site)
    server.requests.clear()
    fetch_deepweeds(folder, site=server.site)
    assert [] == server.requests
    (folder / "images" / NAMES[3]).unlink()
    (folder / "labels.csv").write_text("damaged")
    fetch_deepweeds(folder, site=server.site)
    assert 2 == len(server.requests)
    assert (folder / "images" / NAMES[3]).is_file()


def test_paths_in_the_archive_lead_nowhere(server: WeedServer, tmp_path: Path) -> None:
    """Members go into `images` under their names, wherever they claim to lie."""
    server.files["images.zip"] = archive(tmp_path, NAMES, "../../outside/")
    folder = fetch_deepweeds(tmp_path / "a" / "b" / "w", site=server.site)
    assert {*NAMES} == {p.name for p in (folder / "images").iterdir()}
    assert not list(tmp_path.rglob("outside"))


def test_archive_that_lacks_an_image_is_named(server: WeedServer, tmp_path: Path) -> None:
    server.files["images.zip"] = archive(tmp_path, NAMES[2:])
    with pytest.raises(DataError, match=rf"images\.zip: lacks 2 images, first {NAMES[0]}"):
        fetch_deepweeds(tmp_path / "w", site=server.site)
    assert not (tmp_path / "w" / "images").exists()


def test_archive_that_is_none_is_named(server: WeedServer, tmp_path: Path) -> None:
    server.files["images.zip"] = b"PK but not much more"
    with pytest.raises(DataError, match=r"images\.zip: cannot be unpacked: "):
        fetch_deepweeds(tmp_path / "w", site=server.site)


def test_page_in_the_place_of_the_archive_is_named(server: WeedServer, tmp_path: Path) -> None:
    """Drive answers with a page where it wants a confirmation."""
    site = server.site
    server.files["images.zip"] = b"<html>cannot scan this file for viruses</html>"
    with pytest.raises(DataError, match=r"download\?id=.*: expected SHA-256 [0-9a-f]{64}, rec"):
        fetch_deepweeds(tmp_path / "w", site=site)


def test_oversized_image_is_refused(
    server: WeedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deepweeds_fetch, "MAX_IMAGE_BYTES", 20)
    with pytest.raises(DataError, match="expected at most 20 bytes, received"):
        fetch_deepweeds(tmp_path / "w", site=server.site)


def test_command_reaches_for_the_official_site(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Up to the connection: nobody listens on the port of a server just closed."""
    closed = WeedServer()
    closed.server_close()
    site = DeepWeedsSite(closed.site.labels_url, closed.site.images_url, OFFICIAL.sums)
    monkeypatch.setattr(deepweeds_fetch, "OFFICIAL", site)
    assert main(["data", "fetch", "deepweeds", "--to", str(tmp_path)]) != 0
    error = capsys.readouterr().err
    assert "cannot be reached: " in error
    assert 16 == len([name for name in OFFICIAL.sums if name.endswith(".csv")])


def test_other_schemes_are_refused(tmp_path: Path) -> None:
    site = DeepWeedsSite("file:///etc", "file:///etc", {})
    with pytest.raises(DataError, match="file:///etc: expected an http or https address"):
        fetch_deepweeds(tmp_path, site=site)
