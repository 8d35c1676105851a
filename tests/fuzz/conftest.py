"""What the fuzzers start from: good files, and a folder for the damaged ones."""

from pathlib import Path

import pytest

from headtail.bundle import Bundle, read_bundle
from headtail.bundle.keys import Trust


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder that every example may overwrite its own file in."""
    return tmp_path_factory.mktemp("fuzz")


@pytest.fixture(scope="session")
def bundle_file(write_test_bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a good bundle."""
    return write_test_bundle(tmp_path_factory.mktemp("good"))


@pytest.fixture(scope="session")
def bundle(bundle_file: Path, trust: Trust) -> Bundle:
    """Return it read."""
    return read_bundle(bundle_file, trust)
