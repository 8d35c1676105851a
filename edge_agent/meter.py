"""The energy meter: modelled joules of what each window really computed and sent."""

import logging
from functools import lru_cache
from typing import Protocol

from headtail.bundle import Manifest
from headtail.bundle.profiles import find_device, find_link
from headtail.energy import predict_compute, predict_transmission
from headtail.errors import ConfigError
from headtail.operations import Operations
from headtail.profile import DeviceProfile, LinkProfile, read_device_profile, read_link_profile

log = logging.getLogger(__name__)


class EnergyMeter(Protocol):
    """Prices segments and messages."""

    def compute_j(self, start: int, stop: int) -> float | None:
        """Return the energy of running segments [start, stop) on one window, in joules."""
        ...

    def tx_j(self, payload_bytes: int) -> float | None:
        """Return the energy of sending one message with this payload, in joules.

        The link profile adds the framing of its own link: what gRPC adds here is none of a radio's.
        """
        ...


class NoMeter:
    """Prices nothing: no profile is named, neither in the manifest nor by a flag."""

    def compute_j(self, start: int, stop: int) -> None:
        """Return None: unknown."""

    def tx_j(self, payload_bytes: int) -> None:
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

    def _tx_j(self, payload_bytes: int) -> float:
        return predict_transmission(self.link, payload_bytes).joules


def open_meter(manifest: Manifest, device: str, link: str) -> ProfileMeter | NoMeter:
    """Return the meter for two profiles; an empty name means the one the manifest was priced with.

    Those of the manifest are the bundle's own, where it brings them. It may have been priced with
    profiles that are neither in it nor here; without a flag that leaves energy unpriced, and the
    run goes on.

    Raises:
        ConfigError: If a profile named by a flag is unknown, or only one of the two can be found.
    """
    costs = [cost for point in manifest.points for cost in point.costs]
    if not costs:
        if not device and not link:
            return NoMeter()
        if not device or not link:
            missing = "--link-profile" if device else "--device-profile"
            raise ConfigError(missing, "the bundle names no profile, so energy needs both flags")
        return _meter(manifest, read_device_profile(device), read_link_profile(link))
    cost, own = costs[0], manifest.profiles
    try:
        return _meter(
            manifest,
            read_device_profile(device) if device else find_device(own, cost.device_profile),
            read_link_profile(link) if link else find_link(own, cost.link_profile),
        )
    except ConfigError as error:
        if device or link:
            raise
        log.warning("energy is not priced: %s; name --device-profile and --link-profile", error)
        return NoMeter()


def _meter(manifest: Manifest, device: DeviceProfile, link: LinkProfile) -> ProfileMeter:
    whole = sum((s.operations for s in manifest.segments), Operations())
    if reason := device.beyond_domain(whole):
        log.warning("energy may be far off: %s", reason)
    return ProfileMeter(manifest, device, link)
