"""A constant of a profile: value, unit, kind, source and uncertainty, converted in one place."""

import math
from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec

# unit -> (SI unit it measures in, factor). Every conversion of the energy model is in this table.
UNITS: Mapping[str, tuple[str, float]] = {
    "1": ("1", 1.0),
    "ppm": ("1", 1e-6),
    "V": ("V", 1.0),
    "A": ("A", 1.0),
    "mA": ("A", 1e-3),
    "uA": ("A", 1e-6),
    "C": ("C", 1.0),
    "uC": ("C", 1e-6),
    "W": ("W", 1.0),
    "mW": ("W", 1e-3),
    "uW": ("W", 1e-6),
    "s": ("s", 1.0),
    "ms": ("s", 1e-3),
    "us": ("s", 1e-6),
    "s/MAC": ("s/MAC", 1.0),
    "ns/MAC": ("s/MAC", 1e-9),
    "J/MAC": ("J/MAC", 1.0),
    "nJ/MAC": ("J/MAC", 1e-9),
    "pJ/MAC": ("J/MAC", 1e-12),
    "J/parameter": ("J/parameter", 1.0),
    "nJ/parameter": ("J/parameter", 1e-9),
    "bit/s": ("bit/s", 1.0),
    "kbit/s": ("bit/s", 1e3),
    "Mbit/s": ("bit/s", 1e6),
    "B": ("B", 1.0),
    "KiB": ("B", 1024.0),
    "MiB": ("B", 1024.0**2),
    "GiB": ("B", 1024.0**3),
}
# A source of these kinds has an error that somebody must have thought about.
_UNCERTAIN_KINDS = frozenset({"fitted", "calibrated", "assumed"})


class Constant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One physical constant with where it comes from and how far it may be off."""

    value: float
    unit: str
    kind: Literal["datasheet", "measured", "fitted", "calibrated", "assumed", "paper"]
    """datasheet: a vendor's or standard's document; measured: read from a meter or clock; fitted:
    least squares over measured or published figures; calibrated: set so that one published reading
    comes out; assumed: nobody measured it; paper: as a paper's own tables imply."""
    source: Annotated[str, msgspec.Meta(min_length=1)]
    uncertainty: float | None = None
    """Half-width in `unit`; absent where a datasheet, meter or paper states none."""

    def __post_init__(self) -> None:
        if self.unit not in UNITS:
            raise ValueError(f"unit '{self.unit}' is not one of {', '.join(UNITS)}")
        if not (math.isfinite(self.value) and self.value >= 0):
            raise ValueError(f"value must be finite and at least 0, received {self.value}")
        if self.uncertainty is None:
            if self.kind in _UNCERTAIN_KINDS:
                raise ValueError(f"a constant of kind '{self.kind}' must state its uncertainty")
        elif not (math.isfinite(self.uncertainty) and self.uncertainty >= 0):
            raise ValueError(
                f"uncertainty must be finite and at least 0, received {self.uncertainty}"
            )

    @property
    def si(self) -> float:
        """The value in SI units: J, s, W, A, V, C, B, bit/s, and per MAC or parameter."""
        return self.value * UNITS[self.unit][1]

    @property
    def dimension(self) -> str:
        """The SI unit that `si` is in."""
        return UNITS[self.unit][0]
