"""The wire as a training mimics it."""

from dataclasses import dataclass

from headtail.wire import Affine, Encoding


@dataclass(frozen=True, slots=True)
class FakeWire:
    """The wire in one pass: the map is quantised and dequantised, the gradient passed on as is."""

    point: int
    affine: Affine
    encoding: Encoding
