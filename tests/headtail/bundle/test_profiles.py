"""Tests of the profiles that a bundle brings along."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from headtail.bundle import Manifest, read_bundle
from headtail.bundle.archive import decode_manifest
from headtail.bundle.keys import Trust
from headtail.bundle.manifest import canonical, least_format
from headtail.bundle.profiles import Profiles, find_device, find_link, not_shipped
from headtail.errors import ConfigError, ManifestInvalid
from headtail.profile import read_device_profile, read_link_profile

DEVICE, LINK = read_device_profile("raspberry-pi-5"), read_link_profile("ethernet")
BLE, PAPER = read_link_profile("ble-2m"), read_device_profile("stm32l476-paper")
OWN = Profiles(
    (msgspec.structs.replace(DEVICE, name="pi-field"), PAPER),
    (msgspec.structs.replace(LINK, name="net-field"), BLE),
)


@pytest.fixture
def manifest(tmp_path: Path, write_test_bundle: Callable[..., Path], trust: Trust) -> Manifest:
    """Return a manifest with profiles of its own."""
    plain = read_bundle(write_test_bundle(tmp_path), trust).manifest
    return msgspec.structs.replace(plain, format_version=3, profiles=OWN)


def edited(manifest: Manifest, place: tuple[str | int, ...], value: Any) -> bytes:
    """Return the JSON of a manifest with one place of its profiles changed."""
    raw = msgspec.json.decode(canonical(manifest))
    *steps, last = ("profiles", *place)
    inner = raw
    for step in steps:
        inner = inner[step]
    inner[last] = value
    return msgspec.json.encode(raw, order="sorted")


def test_profiles_come_back_as_they_were(manifest: Manifest) -> None:
    """Every kind of model, through the canonical form."""
    again = decode_manifest(canonical(manifest), "here")
    assert (OWN, canonical(manifest)) == (again.profiles, canonical(again))


def test_without_profiles_nothing_is_written_of_them(manifest: Manifest) -> None:
    """So that older readers and digests stay as they are."""
    plain = msgspec.structs.replace(manifest, format_version=2, profiles=None)
    assert b'"profiles":{},' in canonical(plain)  # the lineage's
    assert 1 == canonical(plain).count(b'"profiles"')


def test_format_is_3_only_with_profiles(manifest: Manifest) -> None:
    assert (2, 3) == (least_format(manifest.points), least_format(manifest.points, OWN))
    with pytest.raises(ValueError, match="profiles are not of format version 2"):
        msgspec.structs.replace(manifest, format_version=2)


def test_own_profiles_go_before_those_of_the_same_name() -> None:
    own = msgspec.structs.replace(DEVICE, description="of its maker")
    assert own == find_device(Profiles((own,)), "raspberry-pi-5")
    assert DEVICE == find_device(OWN, "raspberry-pi-5") == find_device(None, "raspberry-pi-5")
    assert ("net-field", LINK) == (find_link(OWN, "net-field").name, find_link(OWN, "ethernet"))
    with pytest.raises(ConfigError, match="link profile 'net-field'"):
        find_link(None, "net-field")


def test_only_what_headtail_lacks_goes_along() -> None:
    """A profile that says something else under a known name is another one."""
    assert not_shipped((DEVICE,), (LINK, BLE)) is None
    changed = msgspec.structs.replace(LINK, description="changed")
    assert Profiles((), (changed,)) == not_shipped((DEVICE,), (changed, BLE))
    assert Profiles(OWN.devices[:1]) == not_shipped(OWN.devices, (LINK,))


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ((), {}, "profiles must hold one at least"),
        (("devices", 0, "surprise"), 1, "unknown field `surprise`"),
        (("devices", 0, "name"), "../x", "matching regex"),
        (("devices", 1, "name"), "pi-field", "a device profile comes twice"),
        (("devices", 0, "model", "type"), "abacus", "Invalid value 'abacus'"),
        (("devices", 0, "model", "run_time", "value"), -1.0, "must be finite and at least 0"),
        (("devices", 0, "model", "run_time", "value"), 1e300, "'pi-field': run_time must be 0 or"),
        (("links", 0, "model", "throughput", "value"), 1e-300, "throughput must be 0 or 1e-18"),
        (("links", 0, "model", "throughput", "unit"), "s", "expected a unit of bit/s"),
        (("links", 0, "model", "throughput", "value"), 0.0, "expected more than 0"),
        (("devices", 0, "description"), "x" * (64 << 10), "is over 65536 bytes"),
    ],
)
def test_what_is_no_profile_is_refused(
    manifest: Manifest, place: tuple[str | int, ...], value: Any, message: str
) -> None:
    raw = (
        msgspec.json.encode(
            msgspec.json.decode(canonical(manifest)) | {"profiles": value}, order="sorted"
        )
        if not place
        else edited(manifest, place, value)
    )
    with pytest.raises(ManifestInvalid, match=message):
        decode_manifest(raw, "here")


def test_so_many_profiles_are_refused(manifest: Manifest) -> None:
    raw = msgspec.json.decode(canonical(manifest))["profiles"]["links"][0]
    many = [raw | {"name": f"net{i}"} for i in range(9)]
    with pytest.raises(ManifestInvalid, match="at most 8 link profiles expected, are 9"):
        decode_manifest(edited(manifest, ("links",), many), "here")
