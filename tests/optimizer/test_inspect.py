"""The command `optimizer inspect`."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from headtail.bundle import Manifest, read_bundle
from headtail.bundle.keys import Trust
from optimizer.cli import main

WriteBundle = Callable[..., Path]


@pytest.fixture
def path(write_test_bundle: WriteBundle, tmp_path: Path) -> Path:
    """Write the tests' small chain, which says it is synthetic."""
    return write_test_bundle(tmp_path)


def test_everything_is_shown(
    path: Path, key_folder: Path, trust: Trust, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", str(path), "--trust", str(key_folder / "trust")]) == 0
    out = capsys.readouterr().out
    bundle = read_bundle(path, trust)
    for text in (bundle.digest, bundle.key_id, "n, s, v", "partition point 1 of 3", "segments"):
        assert text in out


def test_synthetic_is_said_first_and_last(
    path: Path, key_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", str(path), "--trust", str(key_folder / "trust")]) == 0
    lines = capsys.readouterr().out.strip().splitlines()
    assert lines[0].startswith("SYNTHETIC")
    assert lines[-1].startswith("SYNTHETIC")


def test_json_is_the_manifest_and_who_signed_it(
    path: Path, key_folder: Path, trust: Trust, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", str(path), "--json", "--trust", str(key_folder / "trust")]) == 0
    record = msgspec.json.decode(capsys.readouterr().out)
    bundle = read_bundle(path, trust)
    assert record["digest"] == bundle.digest
    assert record["signed_by"] == bundle.key_id
    assert msgspec.convert(record["manifest"], Manifest) == bundle.manifest


def test_broken_self_test_is_an_error(
    write_test_bundle: WriteBundle,
    tmp_path: Path,
    key_folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = write_test_bundle(tmp_path, corrupt=True)
    assert main(["inspect", str(path), "--trust", str(key_folder / "trust")]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert "self-test" in captured.err


def test_unknown_key_is_an_error(
    path: Path, own_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", str(path)]) == 1
    assert "no trusted keys" in capsys.readouterr().err


def test_foreign_file_is_an_error(
    tmp_path: Path, key_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.bundle").write_bytes(b"no zip")
    words = ["inspect", str(tmp_path / "x.bundle"), "--trust", str(key_folder / "trust")]
    assert main(words) == 1
    assert "no readable zip file" in capsys.readouterr().err
