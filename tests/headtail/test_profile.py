"""Profiles: read by name or path, checked unit by unit, refused in one line."""

import hashlib
from pathlib import Path

import msgspec
import pytest

from headtail.constant import Constant
from headtail.errors import ConfigError
from headtail.profile import (
    DeviceProfile,
    LinkProfile,
    list_device_profiles,
    list_link_profiles,
    profile_digest,
    read_device_profile,
    read_link_profile,
)

PROFILES = Path(__file__).parents[2] / "headtail" / "profiles"
DEVICES = (
    "generic-x86",
    "raspberry-pi-4",
    "raspberry-pi-5",
    "raspberry-pi-zero-2w",
    "stm32l476-paper",
    "stm32l4r5-int8",
)
LINKS = ("ble-1m", "ble-2m", "ble-paper", "ethernet", "loopback", "wifi-esp32")


def text(kind: str, name: str) -> str:
    """Return the text of a profile that comes with headtail."""
    return (PROFILES / f"{kind}s" / f"{name}.toml").read_text()


def constants(struct: msgspec.Struct) -> list[Constant]:
    """Return every constant in a profile."""
    found = []
    for field in struct.__struct_fields__:
        value = getattr(struct, field)
        if isinstance(value, Constant):
            found.append(value)
        elif isinstance(value, msgspec.Struct):
            found += constants(value)
    return found


def test_the_profiles_that_come_with_headtail_are_listed_by_name() -> None:
    """The lists are what an error message offers."""
    assert (DEVICES, LINKS) == (list_device_profiles(), list_link_profiles())


@pytest.mark.parametrize("name", DEVICES)
def test_device_profile_is_named_like_its_file(name: str) -> None:
    """What the manifest records finds the profile again."""
    assert name == read_device_profile(name).name


@pytest.mark.parametrize("name", LINKS)
def test_link_profile_states_its_mode(name: str) -> None:
    """Only the paper's own radio is priced by payload bits alone."""
    link = read_link_profile(name)
    mode = "paper" if name == "ble-paper" else "packet"
    assert (name, mode) == (link.name, link.mode)


@pytest.mark.parametrize("name", [n for n in DEVICES if n.startswith("raspberry-pi")])
def test_speeds_of_a_raspberry_pi_are_assumed(name: str) -> None:
    """Nobody ran the networks on one, so each time may be off by half or more."""
    model = read_device_profile(name).model
    times = [model.conv_time, model.depthwise_time, model.dense_time, model.run_time]
    assert all(c.kind == "assumed" and c.uncertainty >= c.value / 2 for c in times)


def test_memory_of_a_microcontroller_is_in_bytes() -> None:
    """1 MiB of Flash and 128 KiB of RAM, as the paper says."""
    device = read_device_profile("stm32l476-paper")
    assert (1048576, 131072) == (device.flash_bytes, device.ram_bytes)


def test_memory_that_is_not_known_is_none() -> None:
    """A Raspberry Pi 4 comes with any of several memories."""
    device = read_device_profile("raspberry-pi-4")
    assert (None, None) == (device.flash_bytes, device.ram_bytes)


def test_every_constant_has_a_source() -> None:
    """No figure without an origin."""
    profiles: list[DeviceProfile | LinkProfile] = [read_device_profile(n) for n in DEVICES]
    profiles += [read_link_profile(n) for n in LINKS]
    assert all(len(c.source) > 10 for profile in profiles for c in constants(profile))


def test_unknown_device_names_the_known_ones() -> None:
    """The reader learns what to write instead."""
    message = "^device profile 'pi': expected a .toml file or one of generic-x86, raspberry-pi-4, "
    with pytest.raises(ConfigError, match=message):
        read_device_profile("pi")


def test_unknown_link_names_the_known_ones() -> None:
    """A device's name is no link's."""
    message = "^link profile 'raspberry-pi-4': expected a .toml file or one of ble-1m, ble-2m, "
    with pytest.raises(ConfigError, match=message):
        read_link_profile("raspberry-pi-4")


def test_profile_is_read_from_a_path(tmp_path: Path) -> None:
    """One's own device needs no release of headtail."""
    path = tmp_path / "mine.toml"
    path.write_text(text("device", "raspberry-pi-4").replace('"raspberry-pi-4"', '"mine"'))
    assert "mine" == read_device_profile(str(path)).name


def test_missing_file_is_named(tmp_path: Path) -> None:
    """A path that leads nowhere says which."""
    path = tmp_path / "none.toml"
    with pytest.raises(ConfigError, match=rf"^{path}: cannot be read: No such file"):
        read_link_profile(str(path))


@pytest.mark.parametrize(
    ("kind", "name", "change", "message"),
    [
        ("device", "stm32l476-paper", ("nJ/MAC", "nJ/parameter"), "conv_macz: expected a unit of"),
        ("device", "stm32l476-paper", ("26.47", "-26.47"), "value must be finite and at least 0"),
        ("device", "stm32l476-paper", ("26.47", "nan"), "value must be finite and at least 0"),
        ("device", "stm32l476-paper", ('"KiB"', '"ms"'), "ram: expected a unit of B, received"),
        ("device", "raspberry-pi-4", ("cores = 4", "cores = 0"), "Expected `int` >= 1"),
        ("device", "raspberry-pi-4", ("value = 6.4", "value = 2.0"), "at least idle_power"),
        ("device", "raspberry-pi-4", ('"cpu-time"', '"magic"'), "Invalid value 'magic'"),
        ("device", "raspberry-pi-4", ("cores = 4", ""), "missing required field `cores`"),
        ("device", "raspberry-pi-4", ("cores = 4", "cores = 4\nGHz = 1"), "unknown field `GHz`"),
        ("device", "raspberry-pi-4", ('name = "', 'name = "Pi '), "matching regex"),
        ("link", "ble-paper", ("value = 1.0", "value = 0.0"), "rate: expected more than 0 Mbit/s"),
        ("link", "ble-1m", ('"1M"', '"coded"'), "Invalid enum value 'coded'"),
        ("link", "ble-1m", ("mtu_bytes = 247", "mtu_bytes = 22"), "Expected `int` >= 23"),
        ("link", "ble-1m", ("pdu_bytes = 251", "pdu_bytes = 252"), "Expected `int` <= 251"),
        ("link", "ble-1m", ("interval_s = 0.05", "interval_s = 5.0"), "Expected `float` <= 4.0"),
        ("link", "ble-1m", ("value = 3.0", "value = 0.0"), "voltage: expected more than 0 V"),
        ("link", "ethernet", ("value = 900.0", "value = 2e3"), "throughput must be at most"),
        ("link", "ethernet", ("value = 1448.0", "value = 0.0"), "packet must carry at least 1 B"),
        ("link", "ethernet", ("[model]", "[model"), "no valid TOML"),
    ],
)
def test_a_profile_that_breaks_a_rule_is_refused(
    tmp_path: Path, kind: str, name: str, change: tuple[str, str], message: str
) -> None:
    """Each fault gives one line that names the file and the rule."""
    original = text(kind, name)
    assert change[0] in original
    path = tmp_path / "broken.toml"
    path.write_text(original.replace(*change, 1))
    read = read_device_profile if kind == "device" else read_link_profile
    with pytest.raises(ConfigError, match=f"^{path}: .*{message}") as caught:
        read(str(path))
    assert 1 == len(str(caught.value).splitlines())


def test_digest_is_that_of_the_sorted_json() -> None:
    """The lineage can be checked with other tools."""
    link = read_link_profile("ble-1m")
    expected = hashlib.sha256(msgspec.json.encode(link, order="sorted")).hexdigest()
    assert expected == profile_digest(link)


def test_digest_changes_with_any_constant(tmp_path: Path) -> None:
    """A measured constant is an input of the bundle's lineage."""
    path = tmp_path / "mine.toml"
    path.write_text(text("link", "ble-1m").replace("value = 6.4", "value = 6.41"))
    received = profile_digest(read_link_profile(str(path)))
    assert profile_digest(read_link_profile("ble-1m")) != received
