"""What a real Prometheus says of known windows, and what is learned of it."""

from collections.abc import Iterator

import pytest
from field_case import Ran, needs_prometheus, recorded

from headtail.errors import ConfigError, DataError
from headtail.operations import Operations
from headtail.profile import read_device_profile, read_link_profile
from optimizer.field.lesson import Lesson, learn
from optimizer.recipe.field import FieldConfig

pytestmark = needs_prometheus
HEAD, TAIL = Operations(conv_macs=1_000_000), Operations(dense_macs=250_000)
DEVICE, LINK = read_device_profile("raspberry-pi-5"), read_link_profile("ethernet")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return a Prometheus that knows of two models, one of them at two points."""
    folder = tmp_path_factory.mktemp("prometheus")
    with recorded(
        folder,
        0.01,
        Ran("ecg", 1, HEAD, TAIL, head_s=350e-6, network_s=0.05, message_bytes=1000),
        Ran("ecg", 2, HEAD + TAIL, Operations(), windows=50, head_s=550e-6, fallbacks=50),
        Ran("gait", 1, HEAD, TAIL, fallbacks=100),
    ) as url:
        yield url


def lesson(address: str, model: str, **changes: object) -> Lesson:
    """Return what is learned of a model in the last minutes."""
    config = FieldConfig(**{"prometheus": address, "range": "5m", "min_windows": 1, **changes})
    return learn(config, model, DEVICE, LINK)


def test_means_and_counts_are_those_of_the_windows(address: str) -> None:
    """Counters are extrapolated beyond their scrapes, sums and counts alike; means are exact."""
    one, two = lesson(address, "ecg").seen.points
    assert (1, "float32", HEAD, TAIL) == (one.point, one.encoding, one.head, one.tail)
    assert 1000 == pytest.approx(one.message_bytes)
    told = (one.head_s, one.network_s, one.queue_s, one.tail_s, one.total_s)
    assert told == pytest.approx((350e-6, 0.05, 2e-4, 1e-3, 0.05 + 350e-6 + 2e-4 + 1e-3))
    assert one.windows == pytest.approx(one.from_fog)
    assert one.windows == pytest.approx(4 * two.windows)
    assert (0.0, None, None) == (two.from_fog, two.network_s, two.message_bytes)


def test_what_is_learned_predicts_what_was_seen(address: str) -> None:
    """Both heads took twice as long; the way's 40 ms above a round trip are its bits'."""
    learned = lesson(address, "ecg")
    assert 0.01 == pytest.approx(learned.link.model.delay.si, rel=1e-3)
    assert 8720 / 0.04 == pytest.approx(learned.link.model.throughput.si, rel=1e-3)
    assert 50.0 == pytest.approx(learned.device.model.run_time.value, rel=1e-3)
    one, two = learned.seen.points
    assert one.total_s == pytest.approx(learned.predicted_s(one), rel=1e-2)
    assert two.head_s == pytest.approx(learned.predicted_s(two), rel=1e-2)
    assert 872.0 == learned.link.model.message_overhead.value
    assert {
        "delay",
        "throughput",
        "message_overhead",
        "run_time",
        "conv_time",
        "depthwise_time",
        "dense_time",
    } == {c.constant for c in learned.changes}
    assert () == learned.kept


def test_tails_that_ended_on_both_sides_are_not_told_apart(address: str) -> None:
    seen = lesson(address, "gait").seen
    assert (None, pytest.approx(0.5)) == (seen.points[0].tail_s, seen.loss_ratio)
    assert ["deadline"] == list(seen.fallbacks)


def test_matchers_choose_agents(address: str) -> None:
    """All agents of a job; nobody of another."""
    assert 2 == len(lesson(address, "ecg", matchers={"job": "edge"}).seen.points)
    with pytest.raises(DataError, match="knows no windows of model 'ecg' with these matchers"):
        lesson(address, "ecg", matchers={"job": "elsewhere"})


def test_too_little_teaches_nothing(address: str) -> None:
    with pytest.raises(DataError, match=r"expected 10000 windows of model 'ecg' .*, received \d+"):
        lesson(address, "ecg", min_windows=10000)
    with pytest.raises(DataError, match=r"windows of model 'ecgs' .*; models there: ecg, gait$"):
        lesson(address, "ecgs")


def test_no_address_is_a_fault_of_the_configuration() -> None:
    with pytest.raises(ConfigError, match="expected http://HOST:PORT, received nothing"):
        learn(FieldConfig(), "ecg", DEVICE, LINK)
