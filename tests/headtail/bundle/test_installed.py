"""The record of the newest version ever installed."""

from pathlib import Path

import pytest

from headtail.bundle import read_bundle
from headtail.bundle.installed import RECORD, check_installed, read_installed, record_installed
from headtail.errors import BundleOutdated, ConfigError


@pytest.fixture
def manifests(write_test_bundle, trust, tmp_path: Path):
    """Return a function that makes the manifests of these versions."""

    def make(*versions: str):
        paths = [write_test_bundle(tmp_path / "made", version=v) for v in versions]
        return [read_bundle(path, trust).manifest for path in paths]

    return make


def test_what_was_never_installed_may_be(tmp_path: Path) -> None:
    check_installed(tmp_path, "b", "chain", "0.0.1")


def test_older_than_installed_is_refused_by_numbers(manifests, tmp_path: Path) -> None:
    """1.9 is older than 1.10, wherever the newest stood in the list."""
    record_installed(tmp_path, manifests("1.10.0", "1.9.0"), is_forced=False)
    check_installed(tmp_path, "b", "chain", "1.10.0")
    check_installed(tmp_path, "b", "chain", "1.11")
    check_installed(tmp_path, "b", "other", "1.0")
    with pytest.raises(BundleOutdated, match=r"expected chain 1\.10\.0 or newer.*chain 1\.9\.0"):
        check_installed(tmp_path, "b", "chain", "1.9.0")


def test_the_record_goes_back_only_by_force(manifests, tmp_path: Path) -> None:
    record_installed(tmp_path, manifests("2.0.0"), is_forced=False)
    record_installed(tmp_path, manifests("1.0.0"), is_forced=False)
    assert {"chain": "2.0.0"} == read_installed(tmp_path)
    record_installed(tmp_path, manifests("1.0.0"), is_forced=True)
    assert {"chain": "1.0.0"} == read_installed(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b'{"chain": "new"}', b'{"../x": "1.0"}', b"[1]"])
def test_a_record_that_cannot_be_read_is_not_an_empty_one(content, tmp_path: Path) -> None:
    (tmp_path / RECORD).write_bytes(content)
    with pytest.raises(ConfigError, match=r"installed\.json: cannot be read"):
        check_installed(tmp_path, "b", "chain", "1.0.0")


def test_a_folder_that_cannot_be_written_is_warned_about(manifests, caplog) -> None:
    """Nobody puts an old bundle there either."""
    record_installed(Path("/proc/self"), manifests("1.0.0"), is_forced=False)
    assert "older bundles cannot be told from new ones" in caplog.text


def test_a_missing_folder_is_made(manifests, tmp_path: Path) -> None:
    record_installed(tmp_path / "a" / "b", manifests("1.0.0"), is_forced=False)
    assert {"chain": "1.0.0"} == read_installed(tmp_path / "a" / "b")
