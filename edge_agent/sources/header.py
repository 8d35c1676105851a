"""The headers of WFDB records, as PhysioNet keeps them.

Read here and not with the `wfdb` package, which brings pandas and SciPy. Nothing the header says is
believed before it is checked.

Source: https://physionet.org/physiotools/wag/header-5.htm and signal-5.htm.
"""

import math
import re
from dataclasses import dataclass
from pathlib import Path

from headtail.errors import DataError

MAX_HEADER_BYTES = 64 << 10
MAX_SIGNALS = 64
MAX_RATE_HZ = 1e6
MAX_SAMPLES = 1 << 40
DEFAULT_RATE_HZ = 250.0  # header-5: where the record line names none
DEFAULT_GAIN = 200.0  # header-5: counts per physical unit where gain is 0 or absent
PREFERRED_LEAD = "MLII"
BYTES_PER_SAMPLE = {212: 1.5, 16: 2.0}
"""By format; a key is a format this reader knows."""

_RATE = re.compile(r"^([0-9.eE+-]+)(?:/[^ ]*)?$")
_FORMAT = re.compile(r"^([0-9]+)(?:x([0-9]+))?(?::([0-9]+))?(?:\+([0-9]+))?$")
_GAIN = re.compile(r"^([0-9.eE+-]+)(?:\((-?[0-9]+)\))?(?:/(.*))?$")


@dataclass(frozen=True, slots=True)
class Signal:
    """One signal line of a header."""

    file: str
    format: int
    offset_bytes: int
    gain: float
    """Counts per physical unit."""
    baseline: int
    """Count at 0 physical units."""
    units: str
    description: str


@dataclass(frozen=True, slots=True)
class Record:
    """A header, checked."""

    path: Path
    name: str
    rate_hz: float
    samples: int | None
    """Per signal; None where the header does not say."""
    signals: tuple[Signal, ...]

    @property
    def lead(self) -> int:
        """Index of the lead to classify: MLII where there is one, otherwise the first."""
        names = [s.description for s in self.signals]
        return names.index(PREFERRED_LEAD) if PREFERRED_LEAD in names else 0


def read_record(path: Path) -> Record:
    """Read a header; `path` is the record's, with or without `.hea`.

    Raises:
        DataError: If it is missing or not one this reader understands.
    """
    path = path if path.suffix == ".hea" else path.with_name(path.name + ".hea")
    try:
        with path.open("rb") as file:
            data = file.read(MAX_HEADER_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(str(path), f"cannot be read: {reason}") from error
    if len(data) > MAX_HEADER_BYTES:
        raise DataError(str(path), f"expected a header of at most {MAX_HEADER_BYTES} bytes")
    return parse_header(data.decode("latin-1"), path)


def parse_header(text: str, path: Path) -> Record:
    """Parse a header's text; `path` names it and its folder.

    Raises:
        DataError: If a line is malformed or describes what this reader does not read.
    """
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    if not lines:
        raise DataError(str(path), "expected a record line, received an empty header")
    name, count, rate_hz, samples = _parse_record_line(lines[0].split(), str(path))
    if len(lines) < 1 + count:
        raise DataError(str(path), f"expected {count} signal lines, received {len(lines) - 1}")
    signals = tuple(
        _parse_signal_line(line, f"{path} signal {i}")
        for i, line in enumerate(lines[1 : 1 + count])
    )
    return Record(path=path, name=name, rate_hz=rate_hz, samples=samples, signals=signals)


def _parse_record_line(fields: list[str], where: str) -> tuple[str, int, float, int | None]:
    name = fields[0]
    if "/" in name:
        raise DataError(where, f"multi-segment record '{name[:80]}' is not supported")
    count = _whole(fields[1] if len(fields) > 1 else "", where, "number of signals")
    if not 1 <= count <= MAX_SIGNALS:
        raise DataError(where, f"expected 1 to {MAX_SIGNALS} signals, received {count}")
    rate_hz = DEFAULT_RATE_HZ
    if len(fields) > 2:
        match = _RATE.match(fields[2])
        rate_hz = _real(match.group(1) if match else fields[2], where, "sampling frequency")
    if not 0 < rate_hz <= MAX_RATE_HZ:
        raise DataError(where, f"expected a sampling frequency in (0, 1e6] Hz, received {rate_hz}")
    samples = _whole(fields[3], where, "number of samples") if len(fields) > 3 else 0
    if samples < 0:
        raise DataError(where, f"expected at least 0 samples, received {samples}")
    if samples > MAX_SAMPLES:
        raise DataError(where, f"expected at most {MAX_SAMPLES} samples, received {samples}")
    return name, count, rate_hz, samples or None


def _parse_signal_line(line: str, where: str) -> Signal:
    fields = line.split(maxsplit=8)
    if len(fields) < 2:
        raise DataError(where, f"expected a file and a format, received '{line[:80]}'")
    file = fields[0]
    if file in (".", "..", "~", "-") or "/" in file or "\\" in file or "\0" in file:
        raise DataError(where, f"file '{file[:80]}' is not in the record's own folder")
    match = _FORMAT.match(fields[1])
    if not match:
        raise DataError(where, f"expected a format, received '{fields[1][:80]}'")
    form, per_frame, skew, offset = (int(g[:18]) if g else 0 for g in match.groups())
    if form not in BYTES_PER_SAMPLE:
        known = ", ".join(str(f) for f in sorted(BYTES_PER_SAMPLE))
        raise DataError(where, f"expected format {known}, received {form}")
    if per_frame > 1 or skew:
        raise DataError(where, "several samples a frame and skew are not supported")
    zero = _whole(fields[4], where, "ADC zero") if len(fields) > 4 else 0
    gain, baseline, units = _parse_gain(fields[2] if len(fields) > 2 else "", zero, where)
    return Signal(
        file=file,
        format=form,
        offset_bytes=offset,
        gain=gain,
        baseline=baseline,
        units=units,
        description=fields[8] if len(fields) > 8 else "",
    )


def _parse_gain(text: str, zero: int, where: str) -> tuple[float, int, str]:
    if not text:
        return DEFAULT_GAIN, zero, "mV"
    match = _GAIN.match(text)
    if not match:
        raise DataError(where, f"expected a gain, received '{text[:80]}'")
    gain = _real(match.group(1), where, "gain")
    baseline = _whole(match.group(2), where, "baseline") if match.group(2) else zero
    return gain or DEFAULT_GAIN, baseline, match.group(3) or "mV"


def _whole(text: str, where: str, what: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]{1,18}", text):
        raise DataError(where, f"{what}: expected a whole number, received '{text[:80]}'")
    return int(text)


def _real(text: str, where: str, what: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(where, f"{what}: expected a number, received '{text[:80]}'")
    return value
