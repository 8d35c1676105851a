"""A device or link profile as the TOML file that `headtail.profile` reads."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from headtail.profile import DeviceProfile, LinkProfile


def encode_profile(profile: DeviceProfile | LinkProfile) -> bytes:
    """Return the TOML of a profile; what is None is left out."""
    return "\n".join(_lines(msgspec.to_builtins(profile), ())).lstrip("\n").encode() + b"\n"


def _lines(table: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[str]:
    plain = {k: v for k, v in table.items() if v is not None and not isinstance(v, dict)}
    if path and plain:
        yield f"\n[{'.'.join(path)}]"
    for key, value in plain.items():
        # A TOML basic string, number or boolean takes JSON's form; no value here is a list.
        yield f"{key} = {msgspec.json.encode(value).decode()}"
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _lines(value, (*path, key))
