"""A constant states its unit and source, and is converted in one place."""

import msgspec
import pytest

from headtail.constant import UNITS, Constant

FIELDS = {"value": 6.4, "unit": "mA", "kind": "datasheet", "source": "a data sheet"}


def read(**changes: object) -> Constant:
    """Return a constant as it would come from TOML."""
    return msgspec.convert(FIELDS | changes, type=Constant)


@pytest.mark.parametrize(
    ("value", "unit", "si", "dimension"),
    [
        (26.47, "nJ/MAC", 26.47e-9, "J/MAC"),
        (20.1, "mW", 20.1e-3, "W"),
        (40.9, "us", 40.9e-6, "s"),
        (1.7, "uC", 1.7e-6, "C"),
        (40.0, "ppm", 40e-6, "1"),
        (1.0, "Mbit/s", 1e6, "bit/s"),
        (128.0, "KiB", 131072.0, "B"),
    ],
)
def test_units_convert_to_si(value: float, unit: str, si: float, dimension: str) -> None:
    """Every prefix is taken off in the one table."""
    constant = read(value=value, unit=unit)
    assert (pytest.approx(si), dimension) == (constant.si, constant.dimension)


def test_every_si_unit_is_a_unit_of_factor_one() -> None:
    """Whatever a unit converts to can be written itself."""
    assert all(UNITS[dimension] == (dimension, 1.0) for dimension, _ in UNITS.values())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"unit": "furlong"}, "unit 'furlong' is not one of"),
        ({"value": -1.0}, "at least 0, received -1.0"),
        ({"value": float("nan")}, "at least 0, received nan"),
        ({"value": float("inf")}, "at least 0, received inf"),
        ({"uncertainty": -0.1}, "uncertainty must be finite and at least 0"),
        ({"uncertainty": float("nan")}, "uncertainty must be finite and at least 0"),
        ({"kind": "guessed"}, "Invalid enum value 'guessed'"),
        ({"source": ""}, "length >= 1"),
        ({"origin": "there"}, "unknown field `origin`"),
        ({"value": "6.4"}, "Expected `float`, got `str`"),
        ({"value": True}, "Expected `float`, got `bool`"),
    ],
)
def test_what_is_no_constant_is_refused(changes: dict[str, object], message: str) -> None:
    """Each broken rule names what was received."""
    with pytest.raises(msgspec.ValidationError, match=message):
        read(**changes)


@pytest.mark.parametrize("kind", ["fitted", "calibrated", "assumed"])
def test_soft_constants_must_state_their_uncertainty(kind: str) -> None:
    """Nobody else's document vouches for these kinds."""
    with pytest.raises(msgspec.ValidationError, match=f"'{kind}' must state its uncertainty"):
        read(kind=kind)
    assert 0.5 == read(kind=kind, uncertainty=0.5).uncertainty
