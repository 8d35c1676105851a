"""Download of data sets, PhysioNet's above all: checked, resumable, nothing half-written."""

import hashlib
import http.client
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from headtail.errors import DataError
from optimizer.data.aami import RECORDS
from optimizer.data.dataset import Progress, silent

PHYSIONET = "https://physionet.org/files/mitdb/1.0.0"
CHBMIT_URL = "https://physionet.org/files/chbmit/1.0.0"
CHBMIT_SEIZURES = "RECORDS-WITH-SEIZURES"
# chb01/chb01_03.edf, chb02/chb02_16+.edf, chb17/chb17a_03.edf; never a path out of the folder.
CHBMIT_RECORD = re.compile(r"(chb[0-9]{2})/chb[0-9]{2}[a-z]?_[0-9]{2,3}\+?\.edf")
SUMS = "SHA256SUMS.txt"
SUFFIXES = (".hea", ".dat", ".atr")
# The largest file of MIT-BIH has 1,950,000 bytes; four hours of CHB-MIT have about 170 million.
MAX_FILE_BYTES = 16 << 20
MAX_EDF_BYTES = 512 << 20
MAX_RECORDS = 2000
READ_BYTES = 1 << 16
TIMEOUT_S = 30.0
ATTEMPTS = 3


OnBytes = Callable[[int, int], None]


def _unheard(done: int, total: int) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True)
class _Server:
    """A folder on a server, and where its files go."""

    url: str
    folder: Path
    max_file_bytes: int


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
    server = _Server(_checked(base_url), folder, MAX_FILE_BYTES)
    names = [f"{record}{suffix}" for record in records for suffix in SUFFIXES]
    try:
        _fetch_named(server, _read_sums(server), names, progress)
    except OSError as error:
        raise DataError(str(folder), f"cannot be written: {error.strerror or error}") from error
    progress("fetched MIT-BIH", len(names), len(names))
    return folder


def fetch_chbmit(
    folder: Path,
    progress: Progress = silent,
    base_url: str = CHBMIT_URL,
    skipped: Sequence[str] = (),
) -> Path:
    """Download the recordings with seizures of CHB-MIT 1.0.0 and the summaries (GBs, ODC-By 1.0).

    Args:
        folder: Where the folders of the cases go; made if missing.
        progress: As for `fetch_mitbih`.
        base_url: Folder of the database on a server, http or https.
        skipped: Cases to leave out, such as "chb06".

    Returns:
        `folder`.

    Raises:
        DataError: As `fetch_mitbih`, or if the list of recordings is malformed.
    """
    server = _Server(_checked(base_url), folder, MAX_EDF_BYTES)
    try:
        sums = _read_sums(server)
        _fetch_named(server, sums, [CHBMIT_SEIZURES], silent)
        records = _read_records(folder / CHBMIT_SEIZURES, skipped)
        cases = sorted({record.partition("/")[0] for record in records})
        names = [f"{case}/{case}-summary.txt" for case in cases] + records
        _fetch_named(server, sums, names, progress)
    except OSError as error:
        raise DataError(str(folder), f"cannot be written: {error.strerror or error}") from error
    progress("fetched CHB-MIT", len(names), len(names))
    return folder


def _checked(base_url: str) -> str:
    if not base_url.startswith(("https://", "http://")):
        raise DataError(base_url, "expected an http or https address")
    return base_url.rstrip("/")


def _read_records(path: Path, skipped: Sequence[str]) -> list[str]:
    """Return the recordings that a list names, in its order, without those of skipped cases."""
    records: list[str] = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        if not line.strip():
            continue
        found = CHBMIT_RECORD.fullmatch(line.strip())
        if found is None or len(records) >= MAX_RECORDS:
            raise DataError(str(path), "expected a list of recordings such as chb01/chb01_03.edf")
        if found[1] not in skipped:
            records.append(found[0])
    if not records:
        raise DataError(str(path), "names no recording")
    return records


def _fetch_named(
    server: _Server, sums: Mapping[str, str], names: Sequence[str], progress: Progress
) -> None:
    """Fetch those of `names` that are not there and right."""
    missing = [name for name in names if name not in sums]
    if missing:
        (server.folder / SUMS).unlink()
        raise DataError(f"{server.url}/{SUMS}", f"names no checksum of {missing[0]}")
    for done, name in enumerate(names):
        progress(f"fetching {name}", done, len(names))
        path = server.folder / name
        if file_sha256(path) != sums[name]:
            path.parent.mkdir(exist_ok=True)
            _fetch(server, name, sums[name])


def _read_sums(server: _Server) -> Mapping[str, str]:
    """Fetch the list of checksums anew and return it by file name."""
    server.folder.mkdir(parents=True, exist_ok=True)
    path = server.folder / SUMS
    path.with_name(path.name + ".part").unlink(missing_ok=True)
    _fetch(server, SUMS, None)
    sums = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        found = re.fullmatch(r"([0-9a-f]{64}) [ *]?(\S+)", line.strip())
        if found:
            sums[found[2]] = found[1]
    return sums


def _fetch(server: _Server, name: str, sha256: str | None) -> None:
    url = f"{server.url}/{urllib.parse.quote(name)}"
    fetch_file(url, server.folder / name, server.max_file_bytes, sha256)


def fetch_file(
    url: str, path: Path, max_bytes: int, sha256: str | None, on_bytes: OnBytes = _unheard
) -> None:
    """Download one file beside its place, check it, then give it its name.

    One broken off is continued where it stopped.

    Args:
        url: Where it is, http or https.
        path: Where it goes, in a folder that exists.
        max_bytes: Largest size believed.
        sha256: Checksum, None where none is known.
        on_bytes: Called as (bytes here, bytes in all, 0 where unknown) while it comes.

    Raises:
        DataError: If the server cannot be reached, the file is not there, breaks off, is larger
            than `max_bytes`, or has another checksum; the text names it.
        OSError: If it cannot be written.
    """
    part = path.with_name(path.name + ".part")
    for attempt in range(ATTEMPTS):
        reason = _continue(url, part, max_bytes, on_bytes)
        if reason is None:
            break
        if attempt == ATTEMPTS - 1:
            raise DataError(url, reason)
    if sha256 is not None:
        received = file_sha256(part)
        if received != sha256:
            part.unlink()
            raise DataError(url, f"expected SHA-256 {sha256}, received {received}")
    part.replace(path)


def _continue(url: str, part: Path, limit: int, on_bytes: OnBytes) -> str | None:
    """Download what `part` lacks; return why it broke off, None if it is complete.

    Raises:
        DataError: If trying again cannot help: refused, not found, too large.
    """
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})  # noqa: S310 - the scheme was checked
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:  # noqa: S310 - checked above
            rest = have if response.status == 206 else 0
            return _append(response, part, rest, limit, on_bytes)
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


def _append(
    response: http.client.HTTPResponse, part: Path, have: int, limit: int, on_bytes: OnBytes
) -> str | None:
    expected = response.headers.get("Content-Length")
    total = have + int(expected) if expected is not None and expected.isdigit() else 0
    count = 0
    with part.open("ab" if have else "wb") as file:
        while block := response.read(READ_BYTES):
            count += len(block)
            if have + count > limit:
                raise DataError(response.url, f"expected at most {limit} bytes")
            file.write(block)
            on_bytes(have + count, total)
    if have + count < total:
        return f"broke off after {count} of {expected} bytes; run again to continue"
    return None


def file_sha256(path: Path) -> str | None:
    """Return a file's checksum, None if there is no such file."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
