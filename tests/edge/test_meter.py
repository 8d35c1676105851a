"""The meter against a calculation by hand, and what a run reports of it."""

from importlib import resources

import msgspec
import pytest

from edge_agent.meter import NoMeter, ProfileMeter, open_meter
from headtail.bundle import read_bundle
from headtail.bundle.profiles import Profiles
from headtail.errors import ConfigError
from headtail.profile import read_device_profile, read_link_profile

# The paper's set-up: 26.47 nJ per MACz and 31.55 nJ per convolution weight on the
# STM32L476; 20.1 mW for the bit time of 1 Mbit/s on its link.
SEGMENT_J = [26.47e-9 * macz + 31.55e-9 * 9 for macz in (1000, 200, 30)]
BYTE_J = 20.1e-3 * 8 / 1e6


@pytest.fixture
def manifest(priced_path, trust):
    """Return a manifest with operation counts and the paper's profiles."""
    return read_bundle(priced_path, trust).manifest


def test_segments_and_bytes_by_hand(manifest):
    meter = open_meter(manifest, "", "")
    assert isinstance(meter, ProfileMeter)
    assert "paper" == meter.link.mode
    assert 0.0 == meter.compute_j(0, 0)
    for start, stop in ((0, 1), (1, 3), (0, 3)):
        assert pytest.approx(sum(SEGMENT_J[start:stop])) == meter.compute_j(start, stop)
    assert pytest.approx(143 * BYTE_J) == meter.tx_j(143)


def test_run_charges_what_ran_and_what_was_sent(run_agent, start_fog, priced_path):
    """In the fog: the head and the activation. Here: every segment and nothing sent."""
    settings = {"bundle": str(priced_path)}
    payload = 4 * (4 * 8 + 6 * 4)  # the two float32 tensors that cross point 2
    fog = start_fog(bundles=priced_path.parent).address
    for line in run_agent(fog=fog, point="2", batch=1, **settings):
        energy = line["energy_j"]
        assert pytest.approx(SEGMENT_J[0] + SEGMENT_J[1]) == energy["compute"]
        assert pytest.approx(payload * BYTE_J) == energy["tx"]
        assert line["tx_bytes"] > payload
    for line in run_agent(point="3", **settings):
        energy = line["energy_j"]
        assert {"compute": pytest.approx(sum(SEGMENT_J)), "tx": 0.0} == energy


def test_windows_finished_here_are_charged_all_segments(
    run_agent, scripted_fog, priced_path, unused_address
):
    (line, *_) = run_agent(bundle=str(priced_path), fog=unused_address, point="1")
    assert pytest.approx(sum(SEGMENT_J)) == line["energy_j"]["compute"]


def test_flags_name_other_profiles(manifest):
    meter = open_meter(manifest, "raspberry-pi-4", "ble-1m")
    assert ("raspberry-pi-4", "ble-1m", "packet") == (
        meter.device.name, meter.link.name, meter.link.mode,
    )  # fmt: skip


def test_profile_fitted_to_far_less_is_told_of(manifest, tmp_path, caplog):
    """The fixture's whole model has 1,230 convolution MACs, over ten times 122."""
    shipped = resources.files("headtail") / "profiles" / "devices" / "raspberry-pi-4.toml"
    for most, expected in ((123, 0), (122, 1)):
        domain = f"\n[domain]\nconv_macs = {most}\ndepthwise_macs = 0\ndense_macs = 0\n"
        (tmp_path / "own.toml").write_text(shipped.read_text() + domain)
        open_meter(manifest, str(tmp_path / "own.toml"), "ble-1m")
        assert expected == caplog.text.count("1230 conv MACs are over 10 times the 122 that it was")


def test_unknown_profile_is_named(manifest):
    with pytest.raises(ConfigError, match="device profile 'abacus'"):
        open_meter(manifest, "abacus", "")


def test_a_bundle_priced_with_its_maker_s_own_profile_still_runs(manifest, caplog):
    """The maker's .toml is not on the device: energy stays unpriced, and the log says so once."""
    points = tuple(
        msgspec.structs.replace(
            p, costs=tuple(msgspec.structs.replace(c, device_profile="my-own") for c in p.costs)
        )
        for p in manifest.points
    )
    foreign = msgspec.structs.replace(manifest, points=points)
    assert isinstance(open_meter(foreign, "", ""), NoMeter)
    assert ["energy is not priced"] == [r.getMessage()[:20] for r in caplog.records]
    with pytest.raises(ConfigError, match="device profile 'my-own'"):
        open_meter(foreign, "", "ble-1m")


def test_the_bundle_s_own_profiles_price_where_no_flag_names_another(manifest):
    """Twice the paper's energy of a MAC, and half its rate, under names that are not here."""
    device, link = read_device_profile("stm32l476-paper"), read_link_profile("ble-paper")
    macz = msgspec.structs.replace(device.model.conv_macz, value=2 * 26.47)
    rate = msgspec.structs.replace(link.model.rate, value=0.5)
    own = Profiles(
        (msgspec.structs.replace(
            device, name="own", model=msgspec.structs.replace(device.model, conv_macz=macz)),),
        (msgspec.structs.replace(
            link, name="own", model=msgspec.structs.replace(link.model, rate=rate)),),
    )  # fmt: skip
    points = tuple(
        msgspec.structs.replace(
            p,
            costs=tuple(
                msgspec.structs.replace(c, device_profile="own", link_profile="own")
                for c in p.costs
            ),
        )
        for p in manifest.points
    )
    foreign = msgspec.structs.replace(manifest, format_version=3, profiles=own, points=points)
    meter = open_meter(foreign, "", "")
    assert ("own", "own") == (meter.device.name, meter.link.name)
    assert pytest.approx(SEGMENT_J[0] + 26.47e-9 * 1000) == meter.compute_j(0, 1)
    assert pytest.approx(2 * 143 * BYTE_J) == meter.tx_j(143)
    assert pytest.approx(SEGMENT_J[0]) == open_meter(foreign, "stm32l476-paper", "").compute_j(0, 1)


def test_bundle_without_costs_prices_nothing(bundle):
    meter = open_meter(bundle.manifest, "", "")
    assert isinstance(meter, NoMeter)
    assert (None, None) == (meter.compute_j(0, 3), meter.tx_j(100))
