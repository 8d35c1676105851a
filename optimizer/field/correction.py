"""Profiles corrected with what agents measured: pure functions of an observation.

What an observation cannot tell stays as it was, and the reason is said.
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import msgspec

from headtail.constant import UNITS, Constant
from headtail.cost_model import BleLink, CpuTime, PaperLink, PerMac, PowerTime
from headtail.energy import predict_compute
from headtail.operations import Operations
from headtail.profile import DeviceProfile, LinkProfile
from optimizer.field.link_fit import FittedWay, Way, fit_way
from optimizer.field.observation import Observation, PointSeen
from optimizer.latency import FogTime

SUFFIX = "-field"
MAX_NAME = 64
DIGITS = 4
"""Significant ones of a corrected constant."""


class Change(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One constant before and after, in its own unit."""

    kind: Literal["device", "link"]
    constant: str
    unit: str
    before: float
    after: float
    source: str
    """What it was derived from."""


class Corrected(NamedTuple):
    """A profile, what changed in it, and in words what could not be told."""

    profile: Any
    changes: tuple[Change, ...]
    kept: tuple[str, ...]


def correct_device(profile: DeviceProfile, seen: Observation) -> Corrected:
    """Return a device profile whose times are as long as heads really took.

    All are multiplied by one number: at each point the mean time of a head over the predicted
    one, and of these the median, each point counted by its windows.
    """
    model = profile.model
    if not isinstance(model, CpuTime | PerMac):
        reason = f"device profile '{profile.name}' has no times that could be corrected"
        return Corrected(profile, (), (reason,))
    ratios = []
    for point in seen.points:
        predicted_s = _compute_s(profile, point.head)
        if predicted_s and point.head_s:
            ratios.append((point.head_s / predicted_s, point.windows))
    if not ratios:
        reason = (
            f"device profile '{profile.name}': no agent computed anything in a head whose"
            " operations it told"
        )
        return Corrected(profile, (), (reason,))
    scale = weighted_median(ratios)
    windows = sum(weight for _, weight in ratios)
    source = (
        f"mean head times at {_places(len(ratios))}, {windows:.0f} windows:"
        f" {scale:.3g} times what was predicted, {_stretch(seen)}"
    )
    if len(ratios) > 1:
        least, most = min(r for r, _ in ratios), max(r for r, _ in ratios)
        source += f"; by point {least:.3g} to {most:.3g} times"
    times = {f: scale for f, unit in model.units.items() if unit in ("s", "s/MAC")}
    return _replaced(profile, "device", {f: (s, source) for f, s in times.items()})


def correct_link(profile: LinkProfile, seen: Observation) -> Corrected:
    """Return a link profile whose messages take as long as they really took.

    Of an IP link delay and throughput, of the paper's radio its rate; Bluetooth's constants are
    its radio's own, and no time of a whole message tells them.
    """
    model = profile.model
    sent = [p for p in seen.sent if p.message_bytes and p.network_s]
    if isinstance(model, BleLink):
        reason = f"link profile '{profile.name}': Bluetooth's constants do not follow from times"
        return Corrected(profile, (), (reason,))
    if not sent:
        reason = f"link profile '{profile.name}': no window came back from the fog"
        return Corrected(profile, (), (reason,))
    windows = sum(p.from_fog for p in sent)
    where = f"{_places(len(sent))}, {windows:.0f} windows, {_stretch(seen)}"
    if isinstance(model, PaperLink):
        bits = sum(8 * (p.payload_bytes or p.message_bytes or 0.0) * p.from_fog for p in sent)
        seconds = sum((p.network_s or 0.0) * p.from_fog for p in sent)
        ratio = bits / seconds / model.rate.si
        return _replaced(
            profile, "link", {"rate": (ratio, f"bits of payloads over network times at {where}")}
        )
    fitted = fit_way(model, [_way(p) for p in sent], seen.round_trips)
    framing = [
        (p.message_bytes - p.payload_bytes, p.from_fog)
        for p in sent
        if p.message_bytes and p.payload_bytes is not None and p.message_bytes >= p.payload_bytes
    ]
    return _set_way(profile, fitted, weighted_median(framing) if framing else None, where)


def fog_time(device: DeviceProfile, seen: Observation) -> tuple[FogTime, tuple[str, ...]]:
    """Return what the fog adds to a window, and in words what could not be told.

    Args:
        device: Corrected; the fog's time of a tail is told as a multiple of its own.
        seen: What was measured.
    """
    model = device.model
    run_s = model.run_time.si if isinstance(model, CpuTime) else 0.0
    windows = sum(p.from_fog for p in seen.sent)
    if not windows:
        return FogTime(0.0, 0.0, run_s), ("fog: no window came back from it",)
    queue_s = sum((p.queue_s or 0.0) * p.from_fog for p in seen.sent) / windows
    ratios = []
    for point in seen.sent:
        predicted_s = _compute_s(device, point.tail)
        if predicted_s and point.tail_s:
            ratios.append((point.tail_s / predicted_s, point.from_fog))
    if not ratios:
        reason = "fog: the time of a tail is unknown: too many ended on the edge, or nothing says"
        return FogTime(queue_s, 0.0, run_s), (f"{reason} what a tail computes",)
    return FogTime(queue_s, weighted_median(ratios), run_s), ()


def weighted_median(values: Sequence[tuple[float, float]]) -> float:
    """Return the median of values with weights; between two of them where half lies on each side.

    Args:
        values: At least one, each with its weight, more than 0.
    """
    ordered = sorted(values)
    half, below = sum(weight for _, weight in ordered) / 2, 0.0
    for i, (value, weight) in enumerate(ordered):
        below += weight
        if below > half or i + 1 == len(ordered):
            return value
        if below == half:
            return (value + ordered[i + 1][0]) / 2
    raise AssertionError("there is one")


def _compute_s(device: DeviceProfile, operations: Operations | None) -> float | None:
    return None if operations is None else predict_compute(device, operations).seconds


def _way(point: PointSeen) -> Way:
    assert point.message_bytes is not None, "chosen so"
    assert point.network_s is not None, "chosen so"
    low_s = min(point.network_low_s or point.network_s, point.network_s)
    return Way(point.message_bytes, low_s, point.network_s - low_s, point.from_fog)


def _set_way(
    profile: LinkProfile, fitted: FittedWay, framing_bytes: float | None, where: str
) -> Corrected:
    model = profile.model
    assert isinstance(model, PowerTime), "the only one with a delay"
    changed: dict[str, Constant] = {}
    how = f"network times {fitted.how}"
    for field, value, source in (
        ("delay", fitted.delay_s, how),
        ("throughput", fitted.throughput, how),
        ("message_overhead", framing_bytes, "request messages less their payloads"),
    ):
        if value is not None:
            constant: Constant = getattr(model, field)
            own = value / UNITS[constant.unit][1]
            changed[field] = _measured(constant, own, f"{source} at {where}")
    throughput = changed.get("throughput")
    if throughput is not None and throughput.si > model.phy_rate.si:  # rounded up
        rate = model.phy_rate.si / UNITS[throughput.unit][1]
        changed["throughput"] = msgspec.structs.replace(throughput, value=rate)
    return _with(profile, "link", changed, fitted.kept)


def _replaced(
    profile: Any, kind: Literal["device", "link"], ratios: dict[str, tuple[float, str]]
) -> Corrected:
    """Return a profile some of whose constants are multiplied."""
    changed = {
        field: _measured(constant := getattr(profile.model, field), ratio * constant.value, source)
        for field, (ratio, source) in ratios.items()
    }
    return _with(profile, kind, changed, ())


def _with(
    profile: Any,
    kind: Literal["device", "link"],
    changed: dict[str, Constant],
    kept: tuple[str, ...],
) -> Corrected:
    if not changed:
        return Corrected(profile, (), kept)
    changes = tuple(
        Change(kind, field, c.unit, getattr(profile.model, field).value, c.value, c.source)
        for field, c in changed.items()
    )
    corrected = msgspec.structs.replace(
        profile,
        name=field_name(profile.name),
        description=f"{profile.description}; corrected with what agents measured",
        model=msgspec.structs.replace(profile.model, **changed),
    )
    return Corrected(corrected, changes, kept)


def field_name(name: str) -> str:
    """Return the name of a corrected profile; one that was corrected before keeps its own."""
    if name.endswith(SUFFIX):
        return name
    return name[: MAX_NAME - len(SUFFIX)].rstrip("-") + SUFFIX


def _measured(constant: Constant, value: float, source: str) -> Constant:
    rounded = float(f"{value:.{DIGITS}g}")
    return Constant(value=rounded, unit=constant.unit, kind="measured", source=source)


def _places(count: int) -> str:
    return "one partition point and encoding" if count == 1 else f"{count} points and encodings"


def _stretch(seen: Observation) -> str:
    return f"{seen.range_s} s to {seen.at}"
