"""Download of MIT-BIH from PhysioNet: checked, resumable, nothing half-written."""

import hashlib
import http.client
import re
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from headtail.errors import DataError
from optimizer.data.aami import RECORDS
from optimizer.data.dataset import Progress, silent

PHYSIONET = "https://physionet.org/files/mitdb/1.0.0"
SUMS = "SHA256SUMS.txt"
SUFFIXES = (".hea", ".dat", ".atr")
# The largest file of the database has 1,950,000 bytes.
MAX_FILE_BYTES = 16 << 20
READ_BYTES = 1 << 16
TIMEOUT_S = 30.0
ATTEMPTS = 3


def fetch_mitbih(
    folder: Path,
    progress: Progress = silent,
    base_url: str = PHYSIONET,
    records: tuple[str, ...] = RECORDS,
) -> Path:
    """Download the MIT-BIH Arrhythmia Database 1.0.0 (90 MB, ODC-By 1.0).

    Files that are there and right are kept; one broken off is continued where it stopped.

    Args:
        folder: Where the files go; made if missing.
        progress: Told the file and how many of all are done.
        base_url: Folder of the database on a server, http or https.
        records: Names of the records to fetch.

    Returns:
        `folder`.

    Raises:
        DataError: If the server cannot be reached, a file is missing there, breaks off, or has
            another checksum than SHA256SUMS.txt says; the text names it. What was complete stays.
    """
    if not base_url.startswith(("https://", "http://")):
        raise DataError(base_url, "expected an http or https address")
    names = [f"{record}{suffix}" for record in records for suffix in SUFFIXES]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        sums = _read_sums(folder, base_url.rstrip("/"), names)
        for done, name in enumerate(names):
            progress(f"fetching {name}", done, len(names))
            if _sha256(folder / name) != sums[name]:
                _fetch(f"{base_url.rstrip('/')}/{name}", folder / name, sums[name])
    except OSError as error:
        raise DataError(str(folder), f"cannot be written: {error.strerror or error}") from error
    progress("fetched MIT-BIH", len(names), len(names))
    return folder


def _read_sums(folder: Path, base_url: str, names: list[str]) -> Mapping[str, str]:
    """Fetch the list of checksums anew and return those of `names`."""
    path = folder / SUMS
    path.with_name(path.name + ".part").unlink(missing_ok=True)
    _fetch(f"{base_url}/{SUMS}", path, None)
    sums = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        found = re.fullmatch(r"([0-9a-f]{64}) [ *]?(\S+)", line.strip())
        if found:
            sums[found[2]] = found[1]
    missing = [name for name in names if name not in sums]
    if missing:
        path.unlink()
        raise DataError(f"{base_url}/{SUMS}", f"names no checksum of {missing[0]}")
    return sums


def _fetch(url: str, path: Path, sha256: str | None) -> None:
    """Download one file beside `path`, check it, then give it its name."""
    part = path.with_name(path.name + ".part")
    for attempt in range(ATTEMPTS):
        reason = _continue(url, part)
        if reason is None:
            break
        if attempt == ATTEMPTS - 1:
            raise DataError(url, reason)
    if sha256 is not None:
        received = _sha256(part)
        if received != sha256:
            part.unlink()
            raise DataError(url, f"expected SHA-256 {sha256}, received {received}")
    part.replace(path)


def _continue(url: str, part: Path) -> str | None:
    """Download what `part` lacks; return why it broke off, None if it is complete.

    Raises:
        DataError: If trying again cannot help: refused, not found, too large.
    """
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})  # noqa: S310 - the scheme was checked
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:  # noqa: S310
            return _append(response, part, have if response.status == 206 else 0)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:
            # The part is as long as the file, or longer: start anew and let the checksum judge.
            part.unlink()
            return "HTTP 416: the part did not fit"
        raise DataError(url, f"HTTP {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        raise DataError(url, f"cannot be reached: {error.reason}") from error
    except (http.client.HTTPException, ConnectionError, TimeoutError) as error:
        return f"broke off: {error or type(error).__name__}; run again to continue"


def _append(response: http.client.HTTPResponse, part: Path, have: int) -> str | None:
    expected = response.headers.get("Content-Length")
    count = 0
    with part.open("ab" if have else "wb") as file:
        while block := response.read(READ_BYTES):
            count += len(block)
            if have + count > MAX_FILE_BYTES:
                raise DataError(response.url, f"expected at most {MAX_FILE_BYTES} bytes")
            file.write(block)
    if expected is not None and expected.isdigit() and count < int(expected):
        return f"broke off after {count} of {expected} bytes; run again to continue"
    return None


def _sha256(path: Path) -> str | None:
    """Return a file's checksum, None if there is no such file."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
