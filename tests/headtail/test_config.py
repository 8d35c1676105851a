"""Tests of reading configuration files."""

from pathlib import Path

import msgspec
import pytest

from headtail.config import MAX_CONFIG_BYTES, parse_address, read_toml
from headtail.errors import ConfigError


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A section."""

    port: int = 1


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A program's configuration."""

    server: Section = Section()


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "fog.toml"
    path.write_text(text)
    return path


def test_a_file_becomes_a_struct(tmp_path: Path) -> None:
    assert Config(Section(7)) == read_toml(write(tmp_path, "[server]\nport = 7\n"), Config)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[server]\nprot = 7\n", r"fog.toml: .*unknown field `prot`.*\$\.server"),
        ("[server]\nport = 'x'\n", r"fog.toml: Expected `int`, got `str`.*\$\.server\.port"),
        ("[server\n", "fog.toml: no valid TOML"),
        ("x = \xff", "fog.toml: "),
    ],
)
def test_a_wrong_file_names_file_and_key(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_toml(write(tmp_path, text), Config)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.toml: cannot be read: No such file"):
        read_toml(tmp_path / "gone.toml", Config)


def test_an_endless_file_is_not_read_to_its_end(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"at most {MAX_CONFIG_BYTES} bytes"):
        read_toml(write(tmp_path, "#" * (MAX_CONFIG_BYTES + 1)), Config)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("127.0.0.1:80", ("127.0.0.1", 80)), ("[::1]:0", ("::1", 0)), ("fog:65535", ("fog", 65535))],
)
def test_an_address_is_split(text: str, expected: tuple[str, int]) -> None:
    assert expected == parse_address(text, "--listen")


@pytest.mark.parametrize(
    "text", ["", "fog", ":80", "fog:", "fog:x", "fog:65536", "fog:-1", "fog:²"]
)
def test_no_address_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--listen: expected HOST:PORT"):
        parse_address(text, "--listen")
