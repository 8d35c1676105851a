"""What a run learns from the field: corrected profiles, the fog's time, and their origin."""

import time
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec

from headtail.cost_model import PowerTime
from headtail.energy import predict_compute, predict_transmission
from headtail.errors import ConfigError, DataError
from headtail.operations import Operations
from headtail.profile import DeviceProfile, LinkProfile
from optimizer.field.correction import Change, correct_device, correct_link, fog_time
from optimizer.field.observation import Observation, PointSeen
from optimizer.field.observe import Question, observe
from optimizer.field.prometheus import Prometheus
from optimizer.latency import FogTime, window_latency_s
from optimizer.recipe.field import FieldConfig

LAG_S = 1.0
"""A scrape that began so long ago is recorded: all that is asked sees the same ones."""


class Lesson(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file `field.json` of a run."""

    seen: Observation
    base_device: DeviceProfile
    base_link: LinkProfile
    device: DeviceProfile
    """Corrected; the base where nothing could be told."""
    link: LinkProfile
    fog: FogTime
    changes: tuple[Change, ...]
    kept: tuple[str, ...]
    """What could not be told, and why."""

    def predicted_s(self, point: PointSeen) -> float | None:
        """Return the latency that the corrected profiles predict for windows that were seen.

        None where the profile has no speeds, or agents did not tell their operations.
        """
        if point.head is None or point.tail is None:
            return None
        head_s = predict_compute(self.device, point.head).seconds
        whole_s = predict_compute(self.device, point.head + point.tail).seconds
        is_whole = point.tail == Operations()
        if is_whole or point.message_bytes is None:
            return window_latency_s(head_s, 0.0, whole_s, is_whole, self.fog) if is_whole else None
        model = self.link.model
        framing = model.message_overhead.si if isinstance(model, PowerTime) else 0.0
        payload = point.payload_bytes or max(1.0, point.message_bytes - framing)
        sent = predict_transmission(self.link, round(payload))
        return window_latency_s(head_s, sent.seconds, whole_s, False, self.fog)


def learn(
    config: FieldConfig,
    model: str,
    device: DeviceProfile,
    link: LinkProfile,
    clock: Callable[[], float] = time.time,
) -> Lesson:
    """Ask Prometheus, and correct two profiles with what it says.

    Args:
        config: Names it, and the stretch of time.
        model: Name of the bundle that the agents run, where `config` names none.
        device: To correct.
        link: To correct.
        clock: Seconds since 1970.

    Raises:
        ConfigError: If no Prometheus is named.
        DataError: If it cannot be asked, or knows too little of the model.
    """
    if not config.prometheus:
        raise ConfigError("[field] prometheus", "expected http://HOST:PORT, received nothing")
    now_s = clock() - LAG_S
    at = datetime.fromtimestamp(now_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    question = Question(config.model or model, config.range_s, config.matchers, config.min_windows)
    seen = observe(Prometheus(config.prometheus, now_s), question, at)
    try:
        return conclude(seen, device, link)
    except (ValueError, ArithmeticError) as error:
        where = f"Prometheus {config.prometheus}"
        raise DataError(where, f"told figures that no device or link has: {error}") from error


def conclude(seen: Observation, device: DeviceProfile, link: LinkProfile) -> Lesson:
    """Return what follows from an observation."""
    computing, sending = correct_device(device, seen), correct_link(link, seen)
    fog, unknown = fog_time(computing.profile, seen)
    return Lesson(
        seen=seen,
        base_device=device,
        base_link=link,
        device=computing.profile,
        link=sending.profile,
        fog=fog,
        changes=computing.changes + sending.changes,
        kept=computing.kept + sending.kept + unknown,
    )
