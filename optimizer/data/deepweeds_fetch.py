"""Download of DeepWeeds: the label files from its repository, the images from their archive."""

import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from headtail.errors import DataError
from headtail.zip_errors import ZIP_ERRORS
from optimizer.data.dataset import Progress, silent
from optimizer.data.deepweeds import IMAGE_NAME, MAX_TABLE_BYTES, read_labels
from optimizer.data.fetch import fetch_file, file_sha256


@dataclass(frozen=True, slots=True)
class DeepWeedsSite:
    """Where DeepWeeds is, and what its files must be."""

    labels_url: str
    """Folder of the label files, http or https."""
    images_url: str
    """Archive of the images, http or https."""
    sums: Mapping[str, str]
    """SHA-256 of each label file and of images.zip."""


# https://github.com/AlexOlsen/DeepWeeds names the archive (468 MB) by its Drive id; this is the
# address that gives a large file of Drive without a page in between. The archive's checksum is that
# of tensorflow_datasets (url_checksums/deep_weeds.txt, 491,516,047 bytes); the label files' are of
# the repository's files.
OFFICIAL = DeepWeedsSite(
    labels_url="https://raw.githubusercontent.com/AlexOlsen/DeepWeeds/master/labels",
    images_url="https://drive.usercontent.google.com/download"
    "?id=1xnK3B6K6KekDI55vwJ0vnc2IGoDga9cj&export=download&confirm=t",
    sums={
        "images.zip": "0961f63c01b997bfab1559ad09e99c0e8130617fd96a8b92fdc09940e01b0ce8",
        "labels.csv": "6fb95b89fd9d384f94e185a5cab6c5da7c987649399c90618ecc60acfb0112eb",
        "test_subset0.csv": "fb212793b988bc0455aae2e48cb9eb3168014c2f47fbdb93f5f1e284e0974f75",
        "test_subset1.csv": "1ffc3df9be7e312691a4d3c748deeabd846f339e2a9f2a084f84b16beca2f6e9",
        "test_subset2.csv": "c4d0c72bd3bf6ce3cf4b7528ea125be998e881cd4234dc80532e4217aeccd2c1",
        "test_subset3.csv": "8f4cd1c842b12d4282a865d83a7f960745c1b67d221c32a75ca3d0c99f0af471",
        "test_subset4.csv": "0efa3be49a357d83f60f5c9164350503e92b357a72d0ff461f865e47f6f91171",
        "train_subset0.csv": "a2e63f561a545837c8cabaa276a957ccf1293ec985c9d8fbc49d67b4fd5abdb2",
        "train_subset1.csv": "a7447a6c67852f79837eca790aac55f2e16b96e71d63a1d850ba5a4db57748b8",
        "train_subset2.csv": "7e27d63c1614ebbd6a57b3925403f999f70facbc2ffc04f1116f7f8688ebbd52",
        "train_subset3.csv": "fae89ae8d9b00a919a5b20d7eda4807a3400c040ec89df2ac3304a70c97ad24d",
        "train_subset4.csv": "e0c8011ad795638b85dc59d49d1c9e7af4b3843c780cebb3e3241188cf28380e",
        "val_subset0.csv": "1fa70a03a68def06c921a1dd7f0b53e96490f6dfad51d7d423bb145161ebc478",
        "val_subset1.csv": "0aa1f7d2140e20c14736029a37c3022ca14c37f9e135435d3c5bb790054c2e92",
        "val_subset2.csv": "5a5cc004ef3ec9f021fd46194519ab030b0c65606e3b9cd1f09fc465859289d8",
        "val_subset3.csv": "a50360be0955155e9dfeea9927230ffb8376f3a2b2a2e9f46fb6bf51c84cacd6",
        "val_subset4.csv": "d28432a8a3943a23d1d8539a72a6b78ee67f6ec4179830cec071e03fdb749ce3",
    },
)
MAX_ARCHIVE_BYTES = 512 << 20
# The images are JPEGs of 256 x 256.
MAX_IMAGE_BYTES = 1 << 20
READ_BYTES = 1 << 16


def fetch_deepweeds(
    folder: Path, progress: Progress = silent, site: DeepWeedsSite | None = None
) -> Path:
    """Download DeepWeeds (490 MB, CC BY 4.0) and unpack its images into `folder`/images.

    What is there and right is kept; a file broken off is continued where it stopped.

    Args:
        folder: Where the files go; made if missing.
        progress: Told the file and how far it is.
        site: Where from; the official one by default.

    Returns:
        `folder`.

    Raises:
        DataError: If a server cannot be reached, a file is missing there, breaks off or has
            another checksum, or the archive lacks an image; the text names it.
    """
    site = site or OFFICIAL
    for url in (site.labels_url, site.images_url):
        if not url.startswith(("https://", "http://")):
            raise DataError(url, "expected an http or https address")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tables = [name for name in site.sums if name.endswith(".csv")]
        for done, name in enumerate(tables):
            progress(f"fetching {name}", done, len(tables))
            url = f"{site.labels_url}/{name}"
            _fetch(url, folder / name, MAX_TABLE_BYTES, site, silent)
        names, _ = read_labels(folder / "labels.csv")
        if not all((folder / "images" / name).is_file() for name in names):
            archive = folder / "images.zip"
            _fetch(site.images_url, archive, MAX_ARCHIVE_BYTES, site, progress)
            _unpack(archive, folder, set(names), progress)
            archive.unlink()
    except OSError as error:
        raise DataError(str(folder), f"cannot be written: {error.strerror or error}") from error
    progress("fetched DeepWeeds", 1, 1)
    return folder


def _fetch(url: str, path: Path, limit: int, site: DeepWeedsSite, progress: Progress) -> None:
    expected = site.sums[path.name]
    if file_sha256(path) == expected:
        return

    def told(done: int, total: int) -> None:
        progress(f"fetching {path.name}, bytes", done, total)

    fetch_file(url, path, limit, expected, told)


def _unpack(archive: Path, folder: Path, names: set[str], progress: Progress) -> None:
    """Write the images of an archive beside their place, then give their folder its name."""
    fresh = folder / "images.part"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    missing = set(names)
    try:
        with zipfile.ZipFile(archive) as members:
            for member in members.infolist():
                name = PurePosixPath(member.filename).name
                # Whatever path a member claims, it goes under the name of an image.
                if name not in missing or IMAGE_NAME.fullmatch(name) is None:
                    continue
                if member.file_size > MAX_IMAGE_BYTES:
                    raise DataError(
                        f"{archive} '{name}'",
                        f"expected at most {MAX_IMAGE_BYTES} bytes, received {member.file_size}",
                    )
                with members.open(member) as source, (fresh / name).open("wb") as target:
                    shutil.copyfileobj(source, target, READ_BYTES)
                missing.discard(name)
                progress("unpacking images", len(names) - len(missing), len(names))
    except ZIP_ERRORS as error:
        raise DataError(str(archive), f"cannot be unpacked: {error}") from error
    if missing:
        raise DataError(str(archive), f"lacks {len(missing)} images, first {min(missing)}")
    shutil.rmtree(folder / "images", ignore_errors=True)
    fresh.rename(folder / "images")
