"""Captured windows and their labels as data: what is of use, left out, or wrong."""

import numpy as np
import pytest
from captured_case import shard_of, with_header, write

from headtail.bundle.manifest import Step
from headtail.captured import window_id
from headtail.errors import DataError
from headtail.tensor import TensorSpec
from optimizer.data.captured import Wanted, read_captured, read_labels

STEPS = (Step("resample", {"rate_hz": 125.0}), Step("reshape", {"shape": [4, 2]}))
WANTED = Wanted(STEPS, (4, 2), ("N", "V", "S"))


@pytest.fixture
def windows():
    """Return twelve windows, past all steps."""
    return np.random.default_rng(1).standard_normal((12, 4, 2)).astype(np.float32)


def label(folder, name, rows, head="id,label\n"):
    """Write a file of labels; return the folder."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(head + "".join(f"{id_},{text}\n" for id_, text in rows))
    return folder


def test_windows_come_back_with_their_labels(windows, tmp_path):
    """From several shards in several folders, one of them there twice, labels in two files."""
    write(tmp_path / "a" / "1.npz", shard_of(windows[:5], STEPS))
    write(tmp_path / "b" / "c" / "2.npz", shard_of(windows[4:], STEPS, version="2"))
    ids = [window_id([w]) for w in windows]
    labels = label(tmp_path / "labels", "1.csv", [(ids[0], "V"), (ids[3], "N"), ("0" * 16, "N")])
    label(labels, "2.csv", [(ids[3], "N"), (ids[7], "S")], head="")
    x, y, found = read_captured(tmp_path, labels, WANTED)
    order = np.argsort(ids)
    assert windows[order].tobytes() == x.tobytes()
    expected = dict.fromkeys(ids, -1) | {ids[0]: 1, ids[3]: 0, ids[7]: 2}
    assert [expected[ids[i]] for i in order] == y.tolist()
    assert (12, 3, {"N": 1, "V": 1, "S": 1}) == (found.windows, found.labelled, found.counts)
    assert (("bumps 1", "bumps 2"), 3, 1) == (found.bundles, found.agents, found.unmatched)
    assert (1.7e9, 1.7e9 + 7) == (found.oldest_s, found.newest_s)
    assert "12 windows, 3 of them labelled; 1 labels without a window" == str(found)


def test_the_fingerprint_depends_on_windows_and_labels_alone(windows, tmp_path):
    """Not on how they are dealt to shards."""
    write(tmp_path / "a" / "1.npz", shard_of(windows, STEPS))
    write(tmp_path / "b" / "1.npz", shard_of(windows[6:], STEPS))
    write(tmp_path / "b" / "2.npz", shard_of(windows[:6], STEPS))
    labels = label(tmp_path / "labels", "1.csv", [(window_id([windows[0]]), "V")])
    prints = [
        read_captured(tmp_path / folder, csv, WANTED)[2].fingerprint
        for folder, csv in (("a", None), ("b", None), ("a", labels), ("b", labels))
    ]
    assert prints[0] == prints[1] != prints[2] == prints[3]


def test_what_is_of_no_use_is_left_out_and_counted(windows, tmp_path):
    """Other steps, other shapes, other dtypes, two inputs, NaN; damaged files are named."""
    good = shard_of(windows, STEPS)
    write(tmp_path / "good.npz", good)
    write(tmp_path / "steps.npz", shard_of(windows[:2] + 1, STEPS[:1]))
    write(tmp_path / "shape.npz", shard_of(windows[:3, :3] + 1, STEPS))
    write(tmp_path / "dtype.npz", with_header(
        shard_of(windows[:4].astype("f8"), STEPS), inputs=(TensorSpec("x", "float64", (-1, 4, 2)),)
    ))  # fmt: skip
    write(tmp_path / "nan.npz", shard_of(np.full((5, 4, 2), np.nan, "f4"), STEPS))
    whole = (tmp_path / "good.npz").read_bytes()
    (tmp_path / "half.npz").write_bytes(whole[: len(whole) // 2])
    broken = bytearray(whole)
    at = whole.index(windows.tobytes()[:16])
    broken[at] ^= 1
    (tmp_path / "flipped.npz").write_bytes(broken)
    (tmp_path / "text.npz").write_text("no shard")
    x, _, found = read_captured(tmp_path, None, WANTED)
    assert 12 == len(x) == found.windows
    assert {
        "made by other steps": 2,
        "of another shape or dtype": 7,
        "not finite": 5,
    } == found.left_out
    named = [line.split(":")[0].rsplit("/", 1)[1] for line in found.damaged]
    assert ["flipped.npz", "half.npz", "text.npz"] == named
    assert "3 damaged shards" in str(found)


def test_numbers_that_mean_the_same_are_the_same_steps(windows, tmp_path):
    """A recipe may say 125 where the manifest says 125.0."""
    write(tmp_path / "a.npz", shard_of(windows, STEPS))
    steps = (Step("resample", {"rate_hz": 125}), Step("reshape", {"shape": (4, 2)}))
    assert 12 == read_captured(tmp_path, None, Wanted(steps, (4, 2), ("N",)))[2].windows


def test_an_empty_folder_gives_nothing(tmp_path):
    """A fog that has captured nothing yet is no error."""
    x, y, found = read_captured(tmp_path, None, WANTED)
    assert ((0, 4, 2), 0, 0) == (x.shape, len(y), found.windows)


def test_a_missing_folder_is_an_error(tmp_path):
    with pytest.raises(DataError, match="none: expected a folder of captured windows"):
        read_captured(tmp_path / "none", None, WANTED)
    with pytest.raises(DataError, match=r"expected files NAME\.csv"):
        read_captured(tmp_path, tmp_path, WANTED)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("id,label\naa,X\n", r"a.csv:2: expected one of N, V, S; received 'X'"),
        ("aa,N\n\naa,V\n", r"a.csv:3: 'aa' is 'N' and 'V'"),
        ("aa,N,1\n", r"a.csv:1: expected two columns: id,label"),
        ("aa,\n", r"a.csv:1: expected two columns"),
        ("aa,\udcff\n", r"a.csv: expected CSV in UTF-8"),
    ],
)
def test_wrong_labels_are_named_with_file_and_line(text, error, tmp_path):
    (tmp_path / "a.csv").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(DataError, match=error):
        read_labels(tmp_path, ("N", "V", "S"))
