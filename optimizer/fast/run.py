"""Running a network on many windows."""

import numpy as np

from headtail.tensor import Array
from optimizer.fast import kernels
from optimizer.fast.layout import Layout

Wire = tuple[int, Array]
"""Layers ahead of it; scale, zero point, lowest and highest stored value, float32."""
NO_WIRE: Wire = (-1, np.zeros(4, np.float32))


def run_layers(
    layout: Layout,
    parameters: Array,
    x: Array,
    point: int,
    wire: Wire = NO_WIRE,
    *,
    is_rectified: bool = True,
) -> Array:
    """Return what the first `point` layers make of windows; after the last layer the logits.

    Args:
        layout: The network.
        parameters: As `pack` makes them.
        x: Windows, shape (N, length, channels), float32.
        point: How many layers.
        wire: What is quantised on the way.
        is_rectified: Whether the last of the layers is followed by its ReLU.

    Returns:
        float32, shape (N, values).
    """
    windows = np.ascontiguousarray(x, np.float32).reshape(len(x), -1)
    if point == 0:
        return windows
    out = np.empty((len(x), layout.values(point)), np.float32)
    kernels.run(layout.table, parameters, windows, layout.maps, *wire, out, point)
    if is_rectified and point < len(layout.layers):
        np.maximum(out, 0, out=out)
    return out
