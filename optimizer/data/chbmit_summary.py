"""The summary of a case of CHB-MIT, chbNN-summary.txt: which seizures each recording holds."""

import itertools
import re
from dataclasses import dataclass
from pathlib import Path

from headtail.errors import DataError

# The longest of 2010 has 20 KB.
MAX_SUMMARY_BYTES = 1 << 20
MAX_SEIZURES = 100
_FILE = re.compile(r"File Name:\s*(chb[0-9]{2}[a-z]?_[0-9]{2,3}\+?\.edf)")
_COUNT = re.compile(r"Number of Seizures in File:\s*([0-9]{1,3})")
# "Seizure Start Time: 2996 seconds", where there are several "Seizure 1 Start Time: ...".
_TIME = re.compile(r"Seizure\s*[0-9]{0,3}\s*(Start|End) Time:\s*([0-9]{1,6})\s*sec(?:ond)?s?")


@dataclass(frozen=True, slots=True)
class Seizure:
    """One seizure, in seconds from the begin of its recording."""

    start_s: int
    end_s: int


class _Entry:
    """What was read of one recording so far."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.count: int | None = None
        self.times: list[tuple[str, int]] = []


def read_summary(path: Path) -> dict[str, tuple[Seizure, ...]]:
    """Read a summary.

    Returns:
        The seizures of every recording it names, in the order of time, by file name.

    Raises:
        DataError: If it cannot be read, or counts and times of a recording do not fit each other;
            the text names the file and the recording.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_SUMMARY_BYTES + 1)
    except OSError as error:
        raise DataError(str(path), f"cannot be read: {error.strerror}") from error
    if len(content) > MAX_SUMMARY_BYTES:
        raise DataError(str(path), f"expected at most {MAX_SUMMARY_BYTES} bytes")
    entries: list[_Entry] = []
    for number, raw in enumerate(content.decode("utf-8", errors="replace").splitlines(), start=1):
        _read_line(raw.strip(), entries, f"{path} line {number}")
    if not entries:
        raise DataError(str(path), "names no recording ('File Name: chb01_01.edf')")
    return {entry.name: _seizures(entry, path) for entry in entries}


def _read_line(line: str, entries: list[_Entry], where: str) -> None:
    """Take one line; channels, clock times and rules are left out."""
    kind = line.partition(":")[0]
    is_time = kind.startswith("Seizure") and kind.endswith("Time")
    if not (kind in ("File Name", "Number of Seizures in File") or is_time):
        return
    found = _FILE.fullmatch(line) or _COUNT.fullmatch(line) or _TIME.fullmatch(line)
    if found is None:
        raise DataError(where, f"malformed: '{line[:80]}'")
    if found.re is _FILE:
        entries.append(_Entry(found[1]))
    elif not entries:
        raise DataError(where, "seizures before any 'File Name'")
    elif found.re is _COUNT:
        entries[-1].count = int(found[1])
    else:
        entries[-1].times.append((found[1], int(found[2])))


def _seizures(entry: _Entry, path: Path) -> tuple[Seizure, ...]:
    where = f"{path}, {entry.name}"
    if entry.count is None or entry.count > MAX_SEIZURES:
        raise DataError(where, f"expected a number of seizures up to {MAX_SEIZURES}")
    kinds = [kind for kind, _ in entry.times]
    if kinds != ["Start", "End"] * entry.count:
        raise DataError(
            where,
            f"expected start and end of {entry.count} seizures in turn, received"
            f" {kinds.count('Start')} and {kinds.count('End')}",
        )
    times = [seconds for _, seconds in entry.times]
    found = tuple(Seizure(*pair) for pair in zip(times[::2], times[1::2], strict=True))
    if any(after <= before for before, after in itertools.pairwise(times)):
        raise DataError(where, "expected seizures in the order of time, each ending after it began")
    return found
