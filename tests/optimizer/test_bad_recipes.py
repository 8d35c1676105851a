"""Bad input to `optimizer`: one clear line, exit status 1, and nothing trained."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from run_case import RECIPE, bumps, npz

from optimizer import cli

pytestmark = pytest.mark.tf
COUNT = 200
MORE = """
{search}
[train]
epochs = 2
[partition]
{partition}
[partition.bounds]
{bounds}
"""
SEARCH = """
[search]
{method}
channels = [1]
lengths = [0]
population = 4
generations = 1
epochs = 1
"""
Arrays = dict[str, np.ndarray]
Ruin = Callable[[Arrays], object]
WITH_AND_WITHOUT = {"search": SEARCH, "no search": ""}


@pytest.fixture
def arrays() -> Arrays:
    """Return windows of two classes in three splits."""
    rng = np.random.default_rng(2)
    found: Arrays = {}
    for suffix, count in (("", COUNT), ("_validation", COUNT // 2), ("_test", COUNT // 2)):
        x, y = bumps(count, rng)
        found |= {f"x{suffix}": x.astype(np.float64), f"y{suffix}": y}
    return found


def run(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    arrays: Arrays,
    search: str = "",
    method: str = "",
    partition: str = "",
    bounds: str = "",
    data: str = "",
) -> str:
    """Run a recipe that must fail; return its error, checked to be one line and to come early."""
    np.savez(folder / "data.npz", **arrays)
    recipe, out = folder / "recipe.toml", folder / "out"
    more = MORE.format(search=search.format(method=method), partition=partition, bounds=bounds)
    recipe.write_text(RECIPE.format(seed=3, data=data or npz(folder), more=more))
    assert cli.main(["run", str(recipe), "--out", str(out)]) == 1
    lines = capsys.readouterr().err.splitlines()
    errors = [line for line in lines if re.search("error|warning|traceback", line.lower())]
    assert errors == lines[-1:], lines
    assert errors[0].startswith("error: ")
    check_untrained(out)
    return errors[0]


def check_untrained(out: Path) -> None:
    """Check that a run left no more than its recipe and a history without trainings."""
    left = {path.name for path in out.iterdir()} if out.exists() else set()
    assert left <= {"recipe.toml", "run.json", "history.jsonl"}
    if "history.jsonl" in left:
        text = (out / "history.jsonl").read_text()
        events = [json.loads(line) for line in text.splitlines()]
        assert {"search", "individual", "generation"} >= {event["event"] for event in events}
        assert all(event.get("score") is None for event in events)


@pytest.mark.parametrize("search", WITH_AND_WITHOUT.values(), ids=WITH_AND_WITHOUT)
@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ("edge_j = 1e-9", r"none of .* within the bounds.*edge_j .* over its bound of 1e-09"),
        ("total_j = 1e-9", r"none of .* within the bounds.*total_j .* over"),
        (
            "ram_bytes = 1",
            r"none of .* within the bounds.*ram_bytes \d+ is \d+ over",
        ),
        ("parameters = 1", r"none of .* within the bounds.*parameters \d+ is \d+ over"),
        ("flash_bytes = 1\nedge_j = 5e-6", r"none of .* within the bounds"),
        ("latency_s = 1.0", r"(has no speeds|latency_s is unknown)"),
        ("edge_j = nan", r"recipe\.toml: .*\$\.partition\.bounds\.edge_j"),
        ("edge_j = -1.0", r"recipe\.toml: .*\$\.partition\.bounds\.edge_j"),
    ],
)
def test_bound_that_nothing_can_keep(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arrays: Arrays,
    search: str,
    bounds: str,
    message: str,
) -> None:
    """The nearest miss is named."""
    assert re.search(message, run(tmp_path, capsys, arrays, search, bounds=bounds))


@pytest.mark.parametrize("method", ["no_partition", "random", "flops"])
def test_flash_of_one_byte_holds_no_network(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arrays: Arrays, method: str
) -> None:
    """Alone it leaves point 0, unless everything must run on the edge or sending is too dear."""
    bounds = "flash_bytes = 1" + ("" if method == "no_partition" else "\nedge_j = 5e-6")
    text = run(tmp_path, capsys, arrays, SEARCH, f'method = "{method}"', bounds=bounds)
    assert re.search(r"none of the \d+ networks tried is within the bounds", text)


def one_class(suffix: str) -> Ruin:
    """Leave a split one class."""
    return lambda arrays: arrays[f"y{suffix}"].fill(1)


def put(value: float, suffix: str = "") -> Ruin:
    """Put a value into window 7 of a split."""
    return lambda arrays: arrays[f"x{suffix}"].__setitem__((7, 3), value)


def keep(count: int, suffix: str) -> Ruin:
    """Keep the first windows of a split."""

    def shorten(arrays: Arrays) -> None:
        for name in ("x", "y"):
            arrays[name + suffix] = arrays[name + suffix][:count]

    return shorten


def unsplit(arrays: Arrays) -> None:
    """Keep the first array, of one class."""
    for name in [name for name in arrays if "_" in name]:
        del arrays[name]
    arrays["y"].fill(0)


@pytest.mark.parametrize("search", WITH_AND_WITHOUT.values(), ids=WITH_AND_WITHOUT)
@pytest.mark.parametrize(
    ("ruin", "message"),
    [
        (unsplit, "data.npz.*train.*at least two classes"),
        (one_class(""), r"data.npz.*'train': expected at least two classes .* received '1' alone"),
        (put(np.nan), r"data\.npz 'x': window 7 holds NaN or infinity"),
        (put(-np.inf), r"data\.npz 'x': window 7 holds NaN or infinity"),
        (put(np.nan, "_validation"), r"data\.npz 'x_validation': window 7 holds NaN or infinity"),
        (put(np.inf, "_test"), r"data\.npz 'x_test': window 7 holds NaN or infinity"),
        (put(1e39), r"data\.npz 'x': window 7 holds .* float32"),
        (keep(0, "_validation"), r"x_validation': expected windows"),
        (lambda a: [keep(30, s)(a) for s in ("", "_validation")], "at least 64 windows to verify"),
    ],
    ids=[
        "one class",
        "one class to train on",
        "nan",
        "inf",
        "nan to validate on",
        "inf to test on",
        "too large",
        "none to validate on",
        "few",
    ],
)
def test_data_that_teach_nothing(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arrays: Arrays,
    search: str,
    ruin: Ruin,
    message: str,
) -> None:
    """One class where learning needs two, and values that are no numbers."""
    ruin(arrays)
    assert re.search(message, run(tmp_path, capsys, arrays, search))


def test_validation_split_that_cannot_be_halved(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arrays: Arrays
) -> None:
    """A search steers by one half and decides by the other."""
    keep(1, "_validation")(arrays)
    assert "at least 2 validation windows" in run(tmp_path, capsys, arrays, SEARCH)


def profile(folder: Path, *changes: tuple[str, str]) -> str:
    """Write a device profile that differs from a shipped one; return the recipe's key for it."""
    shipped = Path(__file__).parents[2] / "headtail" / "profiles" / "devices"
    text = (shipped / "raspberry-pi-4.toml").read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    path = folder / "device.toml"
    path.write_text(text + "\n[domain]\nconv_macs = 2\ndepthwise_macs = 0\ndense_macs = 1\n")
    return f'device_profile = "{path}"'


@pytest.mark.parametrize("search", WITH_AND_WITHOUT.values(), ids=WITH_AND_WITHOUT)
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ((), r"'raspberry-pi-4' does not reach so far: \d+ (conv|dense) MACs are over 10 times"),
        ((("value = 6.4", "value = nan"),), r"device\.toml: value must be finite and at least 0"),
        ((("value = 6.4", "value = -6.4"),), r"device\.toml: value must be finite and at least 0"),
    ],
    ids=["too far", "nan", "negative"],
)
def test_profile_outside_its_domain(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arrays: Arrays,
    search: str,
    changes: tuple[tuple[str, str], ...],
    message: str,
) -> None:
    """Rates that are no rates, and a network far beyond what they were fitted to."""
    partition = profile(tmp_path, *changes)
    assert re.search(message, run(tmp_path, capsys, arrays, search, partition=partition))


def test_model_far_beyond_the_profile_is_not_split(
    tmp_path: Path, own_home: Path, capsys: pytest.CaptureFixture[str], small_cnn: bytes
) -> None:
    """Nor is a bundle left behind."""
    device = profile(tmp_path).split('"')[1]
    (tmp_path / "model.onnx").write_bytes(small_cnn)
    command = ["split", str(tmp_path / "model.onnx"), "--out", str(tmp_path / "model.bundle")]
    assert cli.main([*command, "--device-profile", device]) == 1
    assert "'raspberry-pi-4' does not reach so far" in capsys.readouterr().err
    assert not list(tmp_path.glob("*.bundle"))


def test_real_source_with_a_missing_sample(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arrays: Arrays
) -> None:
    """An MIT-BIH record may mark samples as missing."""
    from optimizer.data.record import write_record
    from optimizer.data.synthetic import make_record

    folder = tmp_path / "mitdb"
    write_record(folder, "100", make_record(30.0, np.random.default_rng(0)))
    signal = folder / "100.dat"
    content = bytearray(signal.read_bytes())
    content[300:302] = 0x00, (content[301] & 0xF0) | 0x08  # -2048 in format 212
    signal.write_bytes(content)
    data = f'source = "mitbih"\npath = "{folder}"'
    assert "100.dat: sample 100 is invalid" in run(tmp_path, capsys, arrays, data=data)
