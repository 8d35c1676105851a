"""Profiles as files: what is written is read again as it was."""

from pathlib import Path

import msgspec
import pytest

from headtail.profile import (
    list_device_profiles,
    list_link_profiles,
    read_device_profile,
    read_link_profile,
)
from headtail.profile_domain import Domain
from headtail.profile_toml import encode_profile


@pytest.mark.parametrize("name", list_device_profiles())
def test_device_profile_comes_back(name: str, tmp_path: Path) -> None:
    """With and without a domain, and with a text that TOML would take for something else."""
    for domain in (None, Domain(10**12, 0, 7)):
        profile = msgspec.structs.replace(
            read_device_profile(name), domain=domain, description='a "b" \\ µ\n[model]\tc'
        )
        (tmp_path / "own.toml").write_bytes(encode_profile(profile))
        assert profile == read_device_profile(str(tmp_path / "own.toml"))


@pytest.mark.parametrize("name", list_link_profiles())
def test_link_profile_comes_back(name: str, tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_bytes(encode_profile(read_link_profile(name)))
    assert read_link_profile(name) == read_link_profile(str(tmp_path / "own.toml"))
