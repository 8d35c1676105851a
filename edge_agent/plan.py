"""One way to run a bundle: which point, which encoding, with what meaning on the wire."""

from dataclasses import dataclass

from headtail.bundle import Manifest
from headtail.bundle.manifest import Point
from headtail.bundle.offers import offered_encodings
from headtail.errors import ConfigError
from headtail.tensor import Array, TensorSpec
from headtail.wire import Encoding, encode, wire_specs

AUTO = "auto"
MAX_PAYLOAD_BYTES = 3 << 20
"""Of a message of several windows: gRPC servers take 4 MiB unless told otherwise."""


PlanKey = tuple[int, str, str]
"""Partition point, encoding and compression: what tells two plans of one bundle apart."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A partition point of a manifest, an encoding that it offers, and a compression."""

    manifest: Manifest
    point: Point
    encoding: Encoding
    compression: str = ""
    """As the wire names it; empty: none."""

    @property
    def key(self) -> PlanKey:
        """What tells it from the other plans of its bundle."""
        return self.point.index, self.encoding.value, self.compression

    @property
    def label(self) -> str:
        """What it is called in logs and tables."""
        words = (f"point {self.point.index}", self.encoding.value, self.compression)
        return " ".join(words).strip()

    @property
    def is_local(self) -> bool:
        """Whether the whole model runs on the edge."""
        return self.point.index == len(self.manifest.segments)

    @property
    def tail_name(self) -> str:
        """Name under which the fog serves the rest."""
        return self.manifest.tail_name(self.point.index, self.encoding)

    @property
    def wire_specs(self) -> tuple[TensorSpec, ...]:
        """The activation's tensors as they travel."""
        return wire_specs(self.point.activation, self.encoding)

    @property
    def payload_bytes(self) -> int:
        """Bytes of one window's activation as it travels, without framing or compression."""
        wire = self.point.wire(self.encoding)
        assert wire is not None, "choose_plan offers nothing else"
        return wire.bytes

    def batch(self, limit: int) -> int:
        """Return how many windows a message may carry: at most `limit`, in few enough bytes."""
        if not self.manifest.is_batchable:
            return 1
        return max(1, min(limit, MAX_PAYLOAD_BYTES // max(1, self.payload_bytes)))

    def encode(self, activation: dict[str, Array]) -> list[Array]:
        """Return the activation's tensors as they travel, in the manifest's order."""
        wire = self.point.wire(self.encoding)
        assert wire is not None, "choose_plan offers nothing else"
        return [
            encode(activation[s.name], self.encoding, wire.affine.get(s.name), s.is_batchable)
            for s in self.point.activation
        ]


def choose_plan(manifest: Manifest, point: str, encoding: str) -> Plan:
    """Return the plan that two flags ask for; `auto` is the manifest's default.

    Args:
        manifest: The bundle's.
        point: `auto` or a partition point's index.
        encoding: `auto` or an encoding's name. With a point of one's own, `auto` is the default
            encoding where that point offers it, otherwise float32.

    Raises:
        ConfigError: If there is no such point, or it does not offer the encoding, or that is below
            the accuracy floor.
    """
    chosen = manifest.points[_index(manifest, point)]
    offered = offered_encodings(manifest, chosen)
    if encoding == AUTO:
        default = manifest.default_encoding
        return Plan(manifest, chosen, default if default in offered else Encoding.FLOAT32)
    if encoding not in offered:
        names = ", ".join(offered)
        reason = f"partition point {chosen.index} offers {names}, received '{encoding}'"
        raise ConfigError("--encoding", reason + _below(manifest, chosen, encoding))
    return Plan(manifest, chosen, Encoding(encoding))


def _below(manifest: Manifest, point: Point, encoding: str) -> str:
    """Say how far an encoding is below the floor; nothing where the point does not have it."""
    wire = next((e for e in point.encodings if e.encoding == encoding), None)
    if wire is None:
        return ""
    accuracy = "unknown" if wire.accuracy is None else f"{wire.accuracy:.4g}"
    return f", whose accuracy is {accuracy}: the bundle's floor is {manifest.accuracy_floor:.4g}"


def _index(manifest: Manifest, point: str) -> int:
    if point == AUTO:
        return manifest.default_point
    last = len(manifest.segments)
    if not point.isascii() or not point.isdigit() or int(point[:9]) > last:
        raise ConfigError("--point", f"expected auto or 0 to {last}, received '{point}'")
    return int(point)
