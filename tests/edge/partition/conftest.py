"""Options of a made-up device, and a choice among them."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from edge_agent.meter import ProfileMeter
from edge_agent.partition.choose import Objective
from edge_agent.partition.live import LivePartition, LiveSettings
from edge_agent.partition.offer import Option
from edge_agent.plan import Plan
from headtail.bundle import Bundle, read_bundle
from headtail.compression import DEFLATE
from headtail.profile import read_device_profile, read_link_profile
from headtail.wire import Encoding
from partition_world import World

HEADS_S = (0.0001, 0.030, 0.090, 0.200)
TAILS_S = (0.200, 0.170, 0.110, 0.0)
ENCODINGS = (
    (Encoding.FLOAT32, 1.0, 5e-5),
    (Encoding.FLOAT16, 0.5, 2e-4),
    (Encoding.INT8, 0.25, 1e-4),
)
"""With the share of the bytes that is left, and the time that it takes."""
FLOAT_BYTES = (50_000, 12_000, 2_000)


@pytest.fixture(scope="session")
def bundle(write_test_bundle, trust, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Return a bundle of three segments."""
    folder: Path = tmp_path_factory.mktemp("partition")
    return read_bundle(write_test_bundle(folder, "chain"), trust)


@pytest.fixture(scope="session")
def options(bundle: Bundle) -> tuple[Option, ...]:
    """Return options at each of its points, with costs of a slow device."""
    manifest = bundle.manifest
    found = []
    for k, size in enumerate(FLOAT_BYTES):
        point = manifest.points[k]
        for encoding, share, encode_s in ENCODINGS:
            sent = round(share * size) + 150
            plan = Plan(manifest, point, encoding)
            found.append(Option(plan, HEADS_S[k], encode_s, sent, TAILS_S[k]))
        small = Plan(manifest, point, Encoding.INT8, DEFLATE)
        sent = round(0.15 * size) + 160
        found.append(Option(small, HEADS_S[k], 1e-3, sent, TAILS_S[k], inflate_s=2e-4))
    last = Plan(manifest, manifest.points[3], Encoding.FLOAT32)
    return (*found, Option(last, HEADS_S[3], 0.0, 0, 0.0))


@pytest.fixture(scope="session")
def meter(bundle: Bundle) -> ProfileMeter:
    """Return prices by CPU time and an IP link."""
    device, link = read_device_profile("raspberry-pi-zero-2w"), read_link_profile("wifi-esp32")
    return ProfileMeter(bundle.manifest, device, link)


@pytest.fixture
def begin(options: Sequence[Option], meter: ProfileMeter) -> Callable[..., LivePartition]:
    """Return a function that begins a choice in a world; the first option is 0 unless named."""

    def begin(world: World, objective: Objective | None = None, first: int = 0) -> LivePartition:
        settings = LiveSettings(objective=objective or Objective(), patience_s=0.0)
        return LivePartition(options, options[first].plan, meter, settings, world.clock)

    return begin
