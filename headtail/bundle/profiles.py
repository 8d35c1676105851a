"""Profiles that a bundle brings along: a device prices with them though it has none by the name."""

import msgspec

from headtail.constant import Constant
from headtail.profile import (
    DeviceProfile,
    LinkProfile,
    list_device_profiles,
    list_link_profiles,
    read_device_profile,
    read_link_profile,
)

MAX_PROFILES = 8
"""Of each kind."""
MAX_PROFILE_BYTES = 64 << 10
LEAST, LARGEST = 1e-18, 1e18
"""What a constant may be in SI units, unless it is zero: no product of some overflows."""


class Profiles(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The profiles that points were priced with, where headtail has no such ones by their name."""

    devices: tuple[DeviceProfile, ...] = ()
    links: tuple[LinkProfile, ...] = ()

    def __post_init__(self) -> None:
        if not self.devices and not self.links:
            raise ValueError("profiles must hold one at least")
        for kind, profiles in (("device", self.devices), ("link", self.links)):
            _check(kind, profiles)


def find_device(profiles: Profiles | None, name: str) -> DeviceProfile:
    """Return the device profile that a bundle means by `name`: its own, or headtail's.

    Raises:
        ConfigError: If there is none.
    """
    own = () if profiles is None else profiles.devices
    return next((p for p in own if p.name == name), None) or read_device_profile(name)


def find_link(profiles: Profiles | None, name: str) -> LinkProfile:
    """Return the link profile that a bundle means by `name`: its own, or headtail's.

    Raises:
        ConfigError: If there is none.
    """
    own = () if profiles is None else profiles.links
    return next((p for p in own if p.name == name), None) or read_link_profile(name)


def not_shipped(
    devices: tuple[DeviceProfile, ...], links: tuple[LinkProfile, ...]
) -> Profiles | None:
    """Return those that headtail does not bring as they are; None where it brings all.

    Raises:
        ValueError: If a bundle may not hold so many, or so large ones.
    """
    own_devices = tuple(
        d
        for d in devices
        if d.name not in list_device_profiles() or d != read_device_profile(d.name)
    )
    own_links = tuple(
        n for n in links if n.name not in list_link_profiles() or n != read_link_profile(n.name)
    )
    return Profiles(own_devices, own_links) if own_devices or own_links else None


def _check(kind: str, profiles: tuple[DeviceProfile, ...] | tuple[LinkProfile, ...]) -> None:
    if len(profiles) > MAX_PROFILES:
        raise ValueError(f"at most {MAX_PROFILES} {kind} profiles expected, are {len(profiles)}")
    names = [p.name for p in profiles]
    if len(set(names)) < len(names):
        raise ValueError(f"a {kind} profile comes twice: {names}")
    for profile in profiles:
        where = f"{kind} profile '{profile.name}'"
        size = len(msgspec.json.encode(profile))
        if size > MAX_PROFILE_BYTES:
            raise ValueError(f"{where} is over {MAX_PROFILE_BYTES} bytes: {size}")
        for part in (profile, profile.model):
            for field in part.__struct_fields__:
                constant = getattr(part, field)
                if isinstance(constant, Constant):
                    _check_size(f"{where}: {field}", constant)


def _check_size(where: str, constant: Constant) -> None:
    if constant.value and not LEAST <= constant.si <= LARGEST:
        raise ValueError(
            f"{where} must be 0 or {LEAST:g} to {LARGEST:g} in SI units, is {constant.si:g}"
        )
