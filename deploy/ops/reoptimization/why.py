"""Why the new bundle is better: what both promise, and what was measured while both ran."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from headtail.bundle.manifest import Manifest
from headtail.v1 import control_pb2 as pb

_UNITS = {"latency": "s", "energy": "J"}


@dataclass(frozen=True, slots=True)
class Offer:
    """What a bundle promises of one window, as its manifest says."""

    version: str
    point: int
    encoding: str
    wire_bytes: int
    accuracy: float | None
    device_profile: str = ""
    link_profile: str = ""
    edge_j: float | None = None
    edge_s: float | None = None
    """Head and transmission; None where the device profile has no speeds."""

    @property
    def text(self) -> str:
        """In words."""
        parts = [f"point {self.point}", self.encoding, f"{self.wire_bytes} bytes"]
        if self.edge_j is not None:
            parts.append(quantity(self.edge_j, "J"))
        if self.edge_s is not None:
            parts.append(quantity(self.edge_s, "s"))
        if self.accuracy is not None:
            parts.append(f"accuracy {self.accuracy:.3f}")
        return ", ".join(parts)


def offer_of(manifest: Manifest) -> Offer:
    """Return what a bundle promises at the point and encoding that it would use."""
    point = manifest.points[manifest.default_point]
    wire = point.wire(manifest.default_encoding)
    assert wire is not None, "manifests are checked"
    offer = Offer(manifest.version, point.index, wire.encoding.value, wire.bytes, wire.accuracy)
    cost = next((c for c in point.costs if c.encoding is wire.encoding), None)
    if cost is None:
        return offer
    edge_s = None if cost.head_s is None else cost.head_s + cost.tx_s
    return replace(
        offer,
        device_profile=cost.device_profile,
        link_profile=cost.link_profile,
        edge_j=cost.edge_j,
        edge_s=edge_s,
    )


@dataclass(frozen=True, slots=True)
class Why:
    """What can be said for the new bundle."""

    new: Offer
    old: Offer | None = None
    """None where the active bundle could not be had."""
    field: tuple[str, ...] = ()
    """What the job's report says was learned from the field."""
    canary: pb.Canary | None = None
    """As last seen while it was on trial."""

    def lines(self) -> Iterator[str]:
        """Yield what is said to people."""
        new, old = self.new, self.old
        if old is not None:
            yield f"old {old.version}: {old.text}"
        yield f"new {new.version}: {new.text}"
        if old is not None and old.edge_j is not None and new.edge_j is not None:
            pairs = {(o.device_profile, o.link_profile) for o in (old, new)}
            if len(pairs) > 1:
                yield "  (each by the profiles that it was made for)"
        yield from self.field
        yield from self._measured()

    def facts(self) -> dict[str, Any]:
        """Return the same for machines."""
        canary = self.canary
        return {
            "old": None if self.old is None else asdict(self.old),
            "new": asdict(self.new),
            "field": list(self.field),
            "measured": [
                {
                    "what": c.what,
                    "active": c.active if c.HasField("active") else None,
                    "canary": c.canary if c.HasField("canary") else None,
                }
                for c in (canary.comparisons if canary is not None else ())
            ],
        }

    def _measured(self) -> Iterator[str]:
        if self.canary is None:
            return
        for found in self.canary.comparisons:
            sides = [getattr(found, side) for side in ("active", "canary") if found.HasField(side)]
            if not found.HasField("canary") or not any(sides):
                continue  # nothing was compared, or nothing failed in either
            values = " -> ".join(quantity(value, _UNITS.get(found.what, "")) for value in sides)
            yield f"measured {found.what.replace('_', ' ')}: {values}"


def learned(report: dict[str, Any]) -> tuple[str, ...]:
    """Return what a job's report.json says was learned from the field, a line for each thing."""
    told = report.get("field")
    if not isinstance(told, dict):
        return ()
    lines = [f"field: {told.get('windows', 0):.0f} windows of {told.get('model')}"]
    for change in told.get("changes", ()):
        name = told.get(f"{change['kind']}_profile")
        values = f"{change['before']:.4g} -> {change['after']:.4g} {change['unit']}"
        lines.append(f"field: {name}: {change['constant']} {values}".rstrip())
    return (*lines, f"field: {told.get('verdict', '')}")


def quantity(value: float, unit: str) -> str:
    """Return a number with three figures and its unit, small ones in thousandths; "" is a share."""
    if not unit:
        return f"{value:.3g}"
    for prefix, scale in (("", 1.0), ("m", 1e-3), ("u", 1e-6)):
        if value >= scale:
            return f"{value / scale:.3g} {prefix}{unit}"
    return f"{value / 1e-9:.3g} n{unit}"
