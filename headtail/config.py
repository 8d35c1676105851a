"""Reading configuration: TOML into checked structs, and the few things programs share."""

import re
import tomllib
from pathlib import Path
from typing import TypeVar

import msgspec

from headtail.errors import ConfigError

MAX_CONFIG_BYTES = 1 << 20
MAX_PORT = 65535
# Keys of more parts than this; tomllib takes minutes over one of fifty thousand.
_DEEP_KEY = re.compile(r"""(?<![\w"'-])(?:[\w"'-]+[ \t]*\.[ \t]*){64}""")
T = TypeVar("T")


def read_toml(path: Path, kind: type[T]) -> T:
    """Read a TOML file into a struct that forbids unknown fields.

    Raises:
        ConfigError: If the file is missing, too large, no TOML, or breaks the struct's rules; the
            text names the file and the key.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_CONFIG_BYTES + 1)
    except OSError as error:
        raise ConfigError(str(path), f"cannot be read: {error.strerror or error}") from error
    if len(data) > MAX_CONFIG_BYTES:
        raise ConfigError(str(path), f"expected at most {MAX_CONFIG_BYTES} bytes")
    return decode_toml(data, kind, str(path))


def decode_toml(data: bytes, kind: type[T], where: str) -> T:
    """Decode TOML bytes as `read_toml` does; `where` names them in errors."""
    try:
        text = data.decode("utf-8")
        if _DEEP_KEY.search(text):
            raise ConfigError(where, "a key has over 64 parts")
        tree = tomllib.loads(text)
    # The parser's own errors are ValueErrors; a plain one is a number of thousands of digits.
    except (ValueError, RecursionError) as error:
        raise ConfigError(where, f"no valid TOML: {error}") from error
    try:
        return msgspec.convert(tree, type=kind)
    except msgspec.ValidationError as error:
        raise ConfigError(where, str(error)) from error


def parse_address(text: str, where: str) -> tuple[str, int]:
    """Split HOST:PORT, where an IPv6 host stands in brackets.

    Raises:
        ConfigError: If it is not an address.
    """
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > MAX_PORT:
        raise ConfigError(where, f"expected HOST:PORT, received '{text}'")
    return host.strip("[]"), int(port)
