"""What an agent may pick of a bundle: the points and encodings that keep the accuracy floor."""

from typing import NamedTuple

from headtail.bundle.manifest import Manifest, Point, WireEncoding
from headtail.wire import Encoding


class Offered(NamedTuple):
    """A partition point, by its index, and an encoding of its activation."""

    point: int
    encoding: Encoding


def offered(manifest: Manifest) -> tuple[Offered, ...]:
    """Return every point with every encoding that an agent may pick, in the manifest's order.

    An encoding whose accuracy is below the manifest's floor, or was never measured where there is
    a floor, is left out. float32 never is: it is as accurate as the model, and a device has to run
    something.
    """
    return tuple(
        Offered(point.index, wire.encoding)
        for point in manifest.points
        for wire in point.encodings
        if keeps_floor(manifest, wire)
    )


def offered_encodings(manifest: Manifest, point: Point) -> tuple[Encoding, ...]:
    """Return the encodings of one point that an agent may pick."""
    return tuple(w.encoding for w in point.encodings if keeps_floor(manifest, w))


def keeps_floor(manifest: Manifest, wire: WireEncoding) -> bool:
    """Return whether an agent may pick an encoding of one of the manifest's points."""
    floor = manifest.accuracy_floor
    if floor is None or wire.encoding is Encoding.FLOAT32:
        return True
    return wire.accuracy is not None and wire.accuracy >= floor
