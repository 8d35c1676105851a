"""How far a profile reaches."""

from importlib import resources
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headtail.errors import ConfigError
from headtail.operations import Operations
from headtail.profile import list_device_profiles, read_device_profile
from headtail.profile_domain import Domain

COUNTS = st.integers(0, 10**12)


def write(folder: Path, domain: str) -> str:
    """Write a device profile with a domain; return its path."""
    shipped = resources.files("headtail") / "profiles" / "devices" / "raspberry-pi-4.toml"
    path = folder / "device.toml"
    path.write_text(f"{shipped.read_text()}\n[domain]\n{domain}")
    return str(path)


def test_domain_reaches_ten_times_as_far_as_what_was_fitted(tmp_path: Path) -> None:
    """By hand: 2 convolution and 1 dense MACs were, of depthwise ones none."""
    device = read_device_profile(
        write(tmp_path, "conv_macs = 2\ndepthwise_macs = 0\ndense_macs = 1\n")
    )
    assert Domain(2, 0, 1) == device.domain
    for inside in (Operations(), Operations(conv_macs=20, dense_macs=10)):
        assert "" == device.beyond_domain(inside)
    for outside, count in (
        (Operations(conv_macs=21), "21 conv MACs are over 10 times the 2"),
        (Operations(dense_macs=11), "11 dense MACs are over 10 times the 1"),
        (Operations(depthwise_macs=1), "1 depthwise MACs are over 10 times the 0"),
    ):
        expected = f"device profile 'raspberry-pi-4' does not reach so far: {count} that it was"
        assert device.beyond_domain(outside).startswith(expected)


@pytest.mark.parametrize("name", list_device_profiles())
def test_profiles_that_come_with_headtail_know_none(name: str) -> None:
    assert "" == read_device_profile(name).beyond_domain(Operations(conv_macs=10**15))


@pytest.mark.parametrize(
    ("domain", "message"),
    [
        ("conv_macs = 2", "missing required field `depthwise_macs`"),
        ("conv_macs = -1\ndepthwise_macs = 0\ndense_macs = 1", "`int` >= 0.*conv_macs"),
        ("conv_macs = nan\ndepthwise_macs = 0\ndense_macs = 1", "Expected `int`.*conv_macs"),
        ("conv_macs = 1\ndepthwise_macs = 0\ndense_macs = 1\nmacs = 3", "unknown field `macs`"),
    ],
)
def test_domain_that_breaks_a_rule_is_refused(tmp_path: Path, domain: str, message: str) -> None:
    with pytest.raises(ConfigError, match=rf"device\.toml: .*{message}"):
        read_device_profile(write(tmp_path, domain))


@given(st.tuples(COUNTS, COUNTS, COUNTS), st.tuples(COUNTS, COUNTS, COUNTS), COUNTS)
def test_more_operations_never_come_back_into_the_domain(
    fitted: tuple[int, int, int], asked: tuple[int, int, int], more: int
) -> None:
    domain = Domain(*fitted)
    conv, depthwise, dense = asked
    less = Operations(conv_macs=conv, depthwise_macs=depthwise, dense_macs=dense)
    if domain.beyond(less):
        assert domain.beyond(less + Operations(dense_macs=more))
