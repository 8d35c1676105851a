"""Tests of CHB-MIT on EDF files and summaries written here in the database's layout."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyedflib
import pytest

from headtail.errors import DataError
from headtail.preprocess.pipeline import Pipeline
from optimizer.data.chbmit import place_windows
from optimizer.data.chbmit_summary import Seizure, read_summary
from optimizer.data.dataset import DataConfig
from optimizer.data.edf import EdfRecording, find_montage
from optimizer.data.load import load
from optimizer.recipe.recipe import read_recipe

RATE_HZ, SECONDS = 256, 300
# The order of most files; the T8-P8 that is there twice is the database's.
USUAL = (
    "FP1-F7", "F7-T7", "T7-P7", "P7-O1", "FP1-F3", "F3-C3", "FP2-F8", "F8-T8", "T8-P8", "CZ-PZ",
    "P7-T7", "T7-FT9", "T8-P8",
)  # fmt: skip
MOVED = ("CZ-PZ", "-", "F8-T8", "ECG", "--1", "F7-T7")
REFERENCED = ("F7-CS2", "T7-CS2", "F8-CS2", "T8-CS2", "C2-CS2")
LACKING = ("FP1-F7", "T7-P7", "F8-T8")
HEADER = """\
Data Sampling Rate: 256 Hz
*************************

Channels in EDF Files:
**********************
Channel 1: FP1-F7
Channel 2: F7-T7

"""


def electrode(name: str) -> np.ndarray:
    """Return what one electrode has: a tone of its own with a step in the seizure of 100 to 140 s.

    Bipolar channels are differences, so any montage of the same electrodes gives the same channel.
    """
    t = np.arange(SECONDS * RATE_HZ) / RATE_HZ
    frequency = 2 + sum(map(ord, name)) % 17
    return 40 * np.sin(2 * np.pi * frequency * t) * (1 + 2 * ((t >= 100) & (t < 140)))


def channel(label: str) -> np.ndarray:
    """Return a channel by its label."""
    plus, _, minus = label.partition("-")
    return electrode(plus) - electrode(minus)


def write_edf(path: Path, labels: Sequence[str], rate_hz: int = RATE_HZ) -> None:
    """Write an EDF file with these signals."""
    writer = pyedflib.EdfWriter(str(path), len(labels), file_type=pyedflib.FILETYPE_EDF)
    writer.setSignalHeaders(
        [
            {
                "label": label,
                "dimension": "uV",
                "sample_frequency": rate_hz,
                "physical_min": -800.0,
                "physical_max": 800.0,
                "digital_min": -2048,
                "digital_max": 2047,
                "transducer": "",
                "prefilter": "",
            }
            for label in labels
        ]
    )
    writer.writeSamples([channel(label)[: SECONDS * rate_hz] for label in labels])
    writer.close()


def entry(name: str, *seizures: tuple[int, int], numbered: bool = False) -> str:
    """Return what a summary says of one file."""
    lines = [f"File Name: {name}", "File Start Time: 13:43:04", "File End Time: 14:43:04"]
    lines.append(f"Number of Seizures in File: {len(seizures)}")
    for i, (start, end) in enumerate(seizures, start=1):
        number = f"{i} " if numbered else ""
        lines += [f"Seizure {number}Start Time: {start} seconds"]
        lines += [f"Seizure {number}End Time:       {end} seconds"]
    return "\n".join(lines) + "\n\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return three cases: usual, renamed and moved channels, one file without F7-T7."""
    root = tmp_path_factory.mktemp("chbmit")
    layouts = {
        "chb01": {"chb01_03": USUAL, "chb01_04": MOVED, "chb01_15": USUAL},
        "chb12": {"chb12_27": REFERENCED, "chb12_28": REFERENCED, "chb12_29": LACKING},
        "chb17": {"chb17a_03": MOVED, "chb17b_63": USUAL},
        "chb21": {"chb21_19": USUAL},
    }
    for case, files in layouts.items():
        (root / case).mkdir()
        text = HEADER + entry(f"{case}_01.edf")
        for name, labels in files.items():
            numbered = case == "chb12"
            text += entry(f"{name}.edf", (100, 121), (123, 140), numbered=numbered)
            text += "Channels changed:\nChannel 1: F7-CS2\n\n" if labels is REFERENCED else ""
            write_edf(root / case / f"{name}.edf", labels)
        (root / case / f"{case}-summary.txt").write_text(text.replace("\n", "\r\n"))
    return root


def config(folder: Path, **more: object) -> DataConfig:
    """Return the section of a recipe."""
    settings = {"protocol": "recording", **more}
    return DataConfig(source="chbmit", path=str(folder), **settings)


def test_recordings_are_balanced_and_whole(folder: Path) -> None:
    """Each of 8 usable recordings gives 5 + 4 windows in seizures and as many at rest."""
    data = load(config(folder))
    assert ("chbmit", ("rest", "seizure")) == (data.name, data.labels)
    for split in data.splits.values():
        counts = split.counts(data.labels)
        assert counts["rest"] == counts["seizure"]
        assert (len(split), 1536, 2) == split.x.shape
    assert 8 * 18 == sum(len(split) for split in data.splits.values())
    assert [18, 18] == [len(data.validation), len(data.test)]
    assert ["chb12_29.edf"] == data.notes["recordings_without_the_channels"]
    assert ["chb01", "chb12", "chb17", "chb21"] == data.notes["cases"]


def test_windows_are_the_signal_in_and_out_of_seizures(folder: Path) -> None:
    """Seizure windows are three times as high; every montage gives the electrodes' difference."""
    expected = np.stack([channel("F7-T7"), channel("F8-T8")], axis=1)
    for path in (
        folder / "chb01" / "chb01_03.edf",
        folder / "chb01" / "chb01_04.edf",
        folder / "chb12" / "chb12_27.edf",
    ):
        with EdfRecording(path) as edf:
            assert SECONDS * RATE_HZ == edf.samples
            read = edf.read(99 * RATE_HZ, 512)
        # One step of the converter is 0.39 uV; a difference of two has two roundings.
        np.testing.assert_allclose(read, expected[99 * RATE_HZ :][:512], atol=0.9)
    data = load(config(folder))
    middle = np.abs(data.train.x[:, 256:-256]).max(axis=(1, 2))
    assert middle[data.train.y == 1].min() > 2.5 * middle[data.train.y == 0].max()


def test_no_patient_is_in_two_splits(folder: Path) -> None:
    """By patient, cases 1 and 21 are one person: three are too few to deal."""
    with pytest.raises(DataError, match=r"at least 4 recordings or patients.*received 3"):
        load(config(folder, protocol="inter_patient"))


def test_windows_keep_clear_of_seizures_and_ends() -> None:
    """By hand: none over an edge of a seizure, none of rest within a minute, none overlapping."""
    samples = 1000 * RATE_HZ
    inside, rest = place_windows([Seizure(0, 9), Seizure(400, 410), Seizure(993, 1000)], samples)
    assert [256, 256 + 1024, 400 * 256, 404 * 256, 993 * 256] == inside.tolist()
    first, last = rest / RATE_HZ, rest / RATE_HZ + 4
    assert (first.min(), last.max()) == (69.0, 933.0)
    assert not np.any((last > 340) & (first < 470))
    assert np.all(np.diff(rest) >= 1024)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (("F7-T7", "F8-T8"), (((0, 1),), ((1, 1),))),
        (("f8-t8 ", "EEG F7-T7"), (((1, 1),), ((0, 1),))),
        (("T7-F7", "F8-T4"), (((0, -1),), ((1, 1),))),
        (("F8", "T8", "T7", "F7"), (((3, 1), (2, -1)), ((0, 1), (1, -1)))),
        (("F7-A1", "T7-A2", "F8-T8"), None),
        (("F7-T7",), None),
        ((), None),
    ],
)
def test_channels_are_found_by_their_electrodes(labels: Sequence[str], expected: object) -> None:
    montage = find_montage(labels)
    assert expected == (montage.channels if montage else None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "names no recording"),
        ("Seizure Start Time: 3 seconds", "line 1: seizures before any 'File Name'"),
        ("File Name: ../../etc/passwd", "line 1: malformed"),
        ("File Name: chb01_01.edf", r"chb01_01\.edf: expected a number of seizures"),
        (entry("chb01_01.edf", (5, 4)), "each ending after it began"),
        (entry("chb01_01.edf", (50, 60), (40, 45)), "in the order of time"),
        (entry("chb01_01.edf", (5, 9)).replace(": 1", ": 2"), "of 2 seizures.*received 1 and 1"),
        (entry("chb01_01.edf", (5, 9)).replace(": 5 ", ": five "), "line 5: malformed"),
        (" " * (2 << 20), "expected at most 1048576 bytes"),
    ],
)
def test_broken_summary_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "chb01-summary.txt"
    path.write_text(text)
    with pytest.raises(DataError, match=f"chb01-summary.txt.*{message}") as caught:
        read_summary(path)
    assert "\n" not in str(caught.value)


def cut(path: Path) -> None:
    """Keep half of a file."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (Path.unlink, "cannot be read: No such file"),
        (cut, "cannot be read as EDF: "),
        (lambda p: p.write_bytes(b""), "cannot be read as EDF: "),
        (lambda p: p.write_text("<html>" * 200), "cannot be read as EDF: "),
        (lambda p: write_edf(p, USUAL, 128), "expected 256 Hz, received 128"),
    ],
    ids=["missing", "cut", "empty", "page", "rate"],
)
def test_broken_edf_is_named(tmp_path: Path, spoil: Callable[[Path], object], message: str) -> None:
    path = tmp_path / "chb01_03.edf"
    write_edf(path, MOVED)
    spoil(path)
    with pytest.raises(DataError, match=rf"chb01_03\.edf: {message}") as caught, EdfRecording(path):
        pass
    assert "\n" not in str(caught.value)


def test_seizure_past_the_end_is_named(tmp_path: Path) -> None:
    (tmp_path / "chb01").mkdir()
    write_edf(tmp_path / "chb01" / "chb01_03.edf", MOVED)
    (tmp_path / "chb01" / "chb01-summary.txt").write_text(entry("chb01_03.edf", (290, 310)))
    with pytest.raises(DataError, match=r"chb01_03\.edf: has 300 s, but a seizure at 310 s"):
        load(config(tmp_path))


def test_what_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="holds no CHB-MIT cases"):
        load(config(tmp_path))
    with pytest.raises(DataError, match="CHB-MIT has no case 'chb99'"):
        load(config(tmp_path, exclude=("chb99",)))
    with pytest.raises(DataError, match="expected recording or inter_patient, received 'paper'"):
        load(config(tmp_path, protocol="paper"))
    monkeypatch.delenv("HEADTAIL_DATA", raising=False)
    with pytest.raises(DataError, match=r"CHB-MIT: set `path`.*`optimizer data fetch chbmit`"):
        load(DataConfig(source="chbmit", protocol="recording"))


def test_recipe_makes_the_papers_input(folder: Path) -> None:
    """The recipe's steps give 2,048 samples: two channels of 4 s, each standardised."""
    recipe = read_recipe(Path("recipes/chbmit-seizure.toml"))
    data = load(config(folder))
    window = Pipeline(recipe.preprocess).window(data.train.x[0])
    assert (2048, 1) == window.shape
    for half in (window[:1024], window[1024:]):
        np.testing.assert_allclose([half.mean(), half.std()], [0, 1], atol=1e-4)
