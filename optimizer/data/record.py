"""Writing a synthetic record as WFDB files, laid out like those of MIT-BIH.

Formats: PhysioNet, WFDB Applications Guide, header(5), signal(5) (212) and annot(5) (MIT).
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from headtail.errors import DataError
from headtail.preprocess.step import Signal
from optimizer.data.aami import LABELS, LEAD
from optimizer.data.dataset import Labels
from optimizer.data.synthetic import SyntheticRecord

GAIN_PER_MV = 200
ADC_ZERO = 1024
# Format 212 holds two's complement of 12 bits; -2048 stands for a missing sample.
ADC_MIN, ADC_MAX = -2047, 2047
# The second lead is the first, smaller: a reader that takes the wrong one finds other values.
SECOND_LEAD = "V5"
SECOND_RATIO = 0.6
# Codes of annot(5): normal, supraventricular premature, ventricular premature, fusion, paced.
CODES: Mapping[str, int] = {"N": 1, "S": 8, "V": 5, "F": 6, "Q": 12}
SKIP = 59
MAX_INTERVAL = 1023


def write_record(folder: Path, name: str, record: SyntheticRecord) -> Path:
    """Write NAME.dat, NAME.atr and NAME.hea with two leads, MLII and V5.

    Returns:
        Path of the header, which is written last.

    Raises:
        DataError: If a file cannot be written.
    """
    leads = np.stack([_digital(record.signal), _digital(SECOND_RATIO * record.signal)], axis=1)
    contents = {
        ".dat": encode_212(leads.reshape(-1)),
        ".atr": encode_annotations(record.samples, record.classes),
        ".hea": _header(name, record.rate_hz, leads).encode("ascii"),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for suffix, content in contents.items():
            part = folder / f"{name}{suffix}.part"
            part.write_bytes(content)
            part.replace(folder / f"{name}{suffix}")
    except OSError as error:
        raise DataError(str(folder / name), f"cannot be written: {error.strerror}") from error
    return folder / f"{name}.hea"


def encode_212(samples: Labels) -> bytes:
    """Pack pairs of 12-bit samples into three bytes each; an odd last one is paired with 0."""
    padded = np.append(samples, 0)[: len(samples) + len(samples) % 2].astype(np.int64) & 0xFFF
    first, second = padded[0::2], padded[1::2]
    high = (first >> 8) | ((second >> 8) << 4)
    return np.stack([first & 0xFF, high, second & 0xFF], axis=1).astype(np.uint8).tobytes()


def encode_annotations(samples: Labels, classes: Labels) -> bytes:
    """Encode beats as an MIT annotation file; `samples` rise, `classes` index LABELS."""
    words: list[int] = []
    before = 0
    for sample, number in zip(samples.tolist(), classes.tolist(), strict=True):
        interval = sample - before
        if interval > MAX_INTERVAL:
            words += [SKIP << 10, interval >> 16, interval & 0xFFFF]
            interval = 0
        words.append(CODES[LABELS[number]] << 10 | interval)
        before = sample
    return np.array([*words, 0], dtype="<u2").tobytes()


def _digital(signal_mv: Signal) -> Labels:
    counts = np.rint(signal_mv * GAIN_PER_MV) + ADC_ZERO
    return np.asarray(np.clip(counts, ADC_MIN, ADC_MAX), dtype=np.int64)


def _header(name: str, rate_hz: float, leads: Labels) -> str:
    lines = [f"{name} {leads.shape[1]} {rate_hz:g} {len(leads)}"]
    for lead, samples in zip((LEAD, SECOND_LEAD), leads.T, strict=True):
        checksum = int(samples.sum().astype(np.int16))
        lines.append(f"{name}.dat 212 {GAIN_PER_MV} 11 {ADC_ZERO} {samples[0]} {checksum} 0 {lead}")
    lines.append("# synthetic ECG, from no patient")
    return "\r\n".join(lines) + "\r\n"
