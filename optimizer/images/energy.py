"""Energy of a training: as the ToSiM-IoT paper models it, and read from meters where there are any.

A modelled figure is P_load x time with P_load a constant that names its source; a measured one is a
counter of the processor (RAPL) or of NVIDIA boards (NVML), read before and after.
"""

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from headtail.constant import Constant
from headtail.cost_model import CpuTime
from headtail.errors import ConfigError
from headtail.profile import read_device_profile
from optimizer.progress import Advance

TOSIM_T4 = "tosim-t4"
"""Name of the paper's own constant, beside those of device profiles."""
_T4_POWER = Constant(
    value=74.0,
    unit="W",
    kind="paper",
    source="ToSiM-IoT, sec. VI-B: P_load of an NVIDIA T4, whose own limit is 70 W",
)
POWERCAP = Path("/sys/class/powercap")
NVML = "libnvidia-ml.so.1"


class EnergyMeter(Protocol):
    """A counter of joules."""

    name: str
    """What is metered."""

    def read_j(self) -> float:
        """Return the joules since the meter was made.

        To be called at least every few minutes: RAPL's counters wrap at some 65 to 260 kJ.
        """


@dataclass(frozen=True, slots=True)
class Meters:
    """The meters of this machine."""

    present: tuple[EnergyMeter, ...]
    missing: tuple[str, ...]
    """Why others are not there, a line each."""

    def watching(self, advance: Advance) -> Advance:
        """Return `advance` with a look at every meter, so that no wrap goes unseen."""

        def call(done: int, total: int, note: str) -> None:
            for meter in self.present:
                meter.read_j()
            advance(done, total, note)

        return call

    def read_j(self) -> dict[str, float]:
        """Return the joules of each meter since it was made, by its name."""
        return {meter.name: meter.read_j() for meter in self.present}


def load_power(name: str) -> Constant:
    """Return the power under load that prices a training.

    Args:
        name: `tosim-t4` for the paper's, or a device profile of CPU time.

    Raises:
        ConfigError: If there is no such profile, or it has no power.
    """
    if name == TOSIM_T4:
        return _T4_POWER
    profile = read_device_profile(name)
    if not isinstance(profile.model, CpuTime):
        raise ConfigError(
            f"device profile '{name}'", f"has no power under load; {TOSIM_T4} or generic-x86 has"
        )
    return profile.model.full_power


def predict_training_j(power: Constant, seconds: float) -> float:
    """Return the energy of a training as the paper models it.

    Source: ToSiM-IoT, eq. 15: P_load x T_load; its "watts" are watt-hours.

    Raises:
        ValueError: If `power` is no power.
    """
    if power.dimension != "W":
        raise ValueError(f"expected a power in W, received {power.unit}")
    return power.si * seconds


def find_meters(powercap: Path = POWERCAP, nvml: str = NVML) -> Meters:
    """Look for the meters of this machine and begin counting.

    Args:
        powercap: Folder of the kernel's powercap interface.
        nvml: NVIDIA's management library.
    """
    present: list[EnergyMeter] = []
    missing: list[str] = []
    openers: Sequence[Callable[[], EnergyMeter]] = (
        lambda: RaplMeter(powercap),
        lambda: NvmlMeter(nvml),
    )
    for opener in openers:
        try:
            present.append(opener())
        except OSError as error:
            missing.append(str(error))
    return Meters(tuple(present), tuple(missing))


@dataclass(slots=True)
class _Counter:
    """One counter that starts again at zero beyond its range."""

    file: Path
    range_uj: int
    last_uj: int
    total_uj: int = 0

    def read_uj(self) -> int:
        """Return what was counted so far."""
        now = int(self.file.read_text())
        step = now - self.last_uj
        self.total_uj += step if step >= 0 else step + self.range_uj
        self.last_uj = now
        return self.total_uj


class RaplMeter:
    """Processor packages and their memory, by the running average power limit's counters."""

    name = "RAPL"

    def __init__(self, powercap: Path = POWERCAP) -> None:
        """Find the counters.

        Raises:
            OSError: If there are none, or they may not be read; the text says which.
        """
        zones = [z for z in sorted(powercap.glob("intel-rapl:*")) if _is_counted(z)]
        if not zones:
            raise OSError(f"RAPL: {powercap} has no processor package")
        try:
            self._counters = [
                _Counter(
                    zone / "energy_uj",
                    int((zone / "max_energy_range_uj").read_text()),
                    int((zone / "energy_uj").read_text()),
                )
                for zone in zones
            ]
        except PermissionError as error:
            raise OSError(f"RAPL: {error.filename} may be read by root only") from error
        except ValueError as error:
            raise OSError(f"RAPL: {powercap}: {error}") from error

    def read_j(self) -> float:
        """Return the joules since the meter was made."""
        return sum(counter.read_uj() for counter in self._counters) * 1e-6


class NvmlMeter:
    """All NVIDIA boards, by their own counters (Volta and later)."""

    name = "NVML"

    def __init__(self, library: str = NVML) -> None:
        """Load NVIDIA's library and find its boards.

        Raises:
            OSError: If it is not there, or no board counts energy; the text says which.
        """
        try:
            self._nvml: Any = ctypes.CDLL(library)
        except OSError as error:
            raise OSError(f"NVML: {error}") from error
        count = ctypes.c_uint()
        self._call("nvmlInit_v2")
        self._call("nvmlDeviceGetCount_v2", ctypes.byref(count))
        if count.value == 0:
            raise OSError("NVML: no NVIDIA board")
        self._boards = [ctypes.c_void_p() for _ in range(count.value)]
        for i, board in enumerate(self._boards):
            self._call("nvmlDeviceGetHandleByIndex_v2", ctypes.c_uint(i), ctypes.byref(board))
        self._began_mj = self._read_mj()

    def read_j(self) -> float:
        """Return the joules since the meter was made."""
        return (self._read_mj() - self._began_mj) * 1e-3

    def _read_mj(self) -> int:
        total, value = 0, ctypes.c_ulonglong()
        for board in self._boards:
            self._call("nvmlDeviceGetTotalEnergyConsumption", board, ctypes.byref(value))
            total += value.value
        return total

    def _call(self, name: str, *arguments: Any) -> None:
        code = getattr(self._nvml, name)(*arguments)
        if code != 0:
            raise OSError(f"NVML: {name} gave error {code}")


def _is_counted(zone: Path) -> bool:
    """Return whether a zone is a package, or memory, which packages do not include."""
    try:
        name = (zone / "name").read_text().strip()
    except OSError:
        return False
    return name.startswith("package-") or name == "dram"
