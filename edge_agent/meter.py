"""The energy meter: modelled joules of what each window really computed and sent."""

from functools import lru_cache
from typing import Protocol

from headtail.bundle import Manifest
from headtail.energy import predict_compute, predict_transmission
from headtail.errors import ConfigError
from headtail.operations import Operations
from headtail.profile import DeviceProfile, LinkProfile, read_device_profile, read_link_profile


class EnergyMeter(Protocol):
    """Prices segments and messages."""

    def compute_j(self, start: int, stop: int) -> float | None:
        """Return the energy of running segments [start, stop) on one window, in joules."""
        ...

    def tx_j(self, message_bytes: int) -> float | None:
        """Return the energy of sending one message, in joules."""
        ...


class NoMeter:
    """Prices nothing: no profile is named, neither in the manifest nor by a flag."""

    def compute_j(self, start: int, stop: int) -> None:
        """Return None: unknown."""

    def tx_j(self, message_bytes: int) -> None:
        """Return None: unknown."""


class ProfileMeter:
    """Prices by a device and a link profile, with the functions that priced the manifest."""

    def __init__(self, manifest: Manifest, device: DeviceProfile, link: LinkProfile) -> None:
        self.device = device
        self.link = link
        self._operations = [s.operations for s in manifest.segments]
        # A run meets few ranges and few message sizes; both functions are pure.
        self.compute_j = lru_cache(maxsize=256)(self._compute_j)
        self.tx_j = lru_cache(maxsize=256)(self._tx_j)

    def _compute_j(self, start: int, stop: int) -> float:
        operations = sum(self._operations[start:stop], Operations())
        return predict_compute(self.device, operations).joules

    def _tx_j(self, message_bytes: int) -> float:
        return predict_transmission(self.link, message_bytes).joules


def open_meter(manifest: Manifest, device: str, link: str) -> ProfileMeter | NoMeter:
    """Return the meter for two profiles; an empty name means the one the manifest was priced with.

    Raises:
        ConfigError: If a profile is unknown, or only one of the two can be found.
    """
    costs = [cost for point in manifest.points for cost in point.costs]
    device = device or (costs[0].device_profile if costs else "")
    link = link or (costs[0].link_profile if costs else "")
    if not device and not link:
        return NoMeter()
    if not device or not link:
        missing = "--link-profile" if device else "--device-profile"
        raise ConfigError(missing, "the bundle names no profile, so energy needs both flags")
    return ProfileMeter(manifest, read_device_profile(device), read_link_profile(link))
