"""Device and link profiles: the named constants that price a computation and a message.

A profile is a TOML file. The ones that come with headtail lie in `headtail/profiles/devices` and
`headtail/profiles/links` and are read by name; others are read by path. `headtail.energy` turns
them into joules and seconds.
"""

import hashlib
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import msgspec

from headtail.config import decode_toml, read_toml
from headtail.constant import Constant
from headtail.cost_model import (
    BleLink,
    CpuTime,
    PaperLink,
    PaperOperations,
    PerMac,
    PowerTime,
    check_unit,
)
from headtail.errors import ConfigError
from headtail.operations import Operations
from headtail.profile_domain import Domain

ProfileName = Annotated[
    str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9_]*(-[a-z0-9_]+)*$", max_length=64)
]


class DeviceProfile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What computing costs on one device."""

    name: ProfileName
    description: str
    model: PaperOperations | PerMac | CpuTime
    flash: Constant | None = None
    """Memory for the program and its weights, where known."""
    ram: Constant | None = None
    """Memory for activations, where known."""
    domain: Domain | None = None
    """What the model was fitted to, where known; far beyond it nothing is predicted."""

    def __post_init__(self) -> None:
        for field in ("flash", "ram"):
            constant = getattr(self, field)
            if constant is not None:
                check_unit(field, constant, "B")

    @property
    def flash_bytes(self) -> int | None:
        """Memory for the program and its weights, in bytes."""
        return None if self.flash is None else int(self.flash.si)

    @property
    def ram_bytes(self) -> int | None:
        """Memory for activations, in bytes."""
        return None if self.ram is None else int(self.ram.si)

    def beyond_domain(self, operations: Operations) -> str:
        """Return in words why the profile cannot price a run; empty where it can."""
        reason = "" if self.domain is None else self.domain.beyond(operations)
        return reason and f"device profile '{self.name}' does not reach so far: {reason}"


class LinkProfile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What sending one message costs on one link."""

    name: ProfileName
    description: str
    model: PaperLink | BleLink | PowerTime

    @property
    def mode(self) -> Literal["paper", "packet"]:
        """How messages are priced, exported beside every figure: by payload bits or by packets."""
        return "paper" if isinstance(self.model, PaperLink) else "packet"


Profile = TypeVar("Profile", DeviceProfile, LinkProfile)


def read_device_profile(name_or_path: str) -> DeviceProfile:
    """Read a device profile by its name or from a `.toml` file.

    Raises:
        ConfigError: If there is no such profile (the known names follow), or it breaks a rule.
    """
    return _read(name_or_path, "device", DeviceProfile)


def read_link_profile(name_or_path: str) -> LinkProfile:
    """Read a link profile by its name or from a `.toml` file.

    Raises:
        ConfigError: If there is no such profile (the known names follow), or it breaks a rule.
    """
    return _read(name_or_path, "link", LinkProfile)


def list_device_profiles() -> tuple[str, ...]:
    """Return the names of the device profiles that come with headtail, sorted."""
    return tuple(sorted(_shipped("device")))


def list_link_profiles() -> tuple[str, ...]:
    """Return the names of the link profiles that come with headtail, sorted."""
    return tuple(sorted(_shipped("link")))


def profile_digest(profile: DeviceProfile | LinkProfile) -> str:
    """Return the SHA-256 of everything the profile says, in hexadecimal."""
    return hashlib.sha256(msgspec.json.encode(profile, order="sorted")).hexdigest()


def _read(name_or_path: str, kind: str, struct: type[Profile]) -> Profile:
    if name_or_path.endswith(".toml"):
        return read_toml(Path(name_or_path), struct)
    where = f"{kind} profile '{name_or_path}'"
    shipped = _shipped(kind)
    if name_or_path not in shipped:
        raise ConfigError(where, f"expected a .toml file or one of {', '.join(sorted(shipped))}")
    return decode_toml(shipped[name_or_path].read_bytes(), struct, where)


def _shipped(kind: str) -> dict[str, Traversable]:
    folder = resources.files("headtail") / "profiles" / f"{kind}s"
    files = [file for file in folder.iterdir() if file.name.endswith(".toml")]
    return {file.name.removesuffix(".toml"): file for file in files}
