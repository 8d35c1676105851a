"""Where the maps and the parameters of a network lie for the compiled code."""

from dataclasses import dataclass

import numpy as np

from headtail.tensor import Array
from optimizer.fast import kernels as k
from optimizer.network import Genome, Layer


@dataclass(frozen=True, slots=True)
class Layout:
    """A network's table and sizes."""

    table: Array
    """One line per layer, shape (layers, COLUMNS), int64."""
    maps: int
    """Rows of LANES values that all maps take, zeros around them included."""
    parameters: int
    layers: tuple[Layer, ...]

    def values(self, point: int) -> int:
        """Values of one window behind the first `point` layers."""
        return self.layers[0].in_values if point == 0 else self.layers[point - 1].out_values


def lay_out(genome: Genome) -> Layout:
    """Lay out a network."""
    layers = genome.layers()
    lines, place, parameters = [], 0, 0
    starts, ends = [], []
    for i in range(len(layers) + 1):
        reader = layers[i] if i < len(layers) else None
        before, around, values = 0, 0, layers[-1].out_values
        if reader is not None:
            values = reader.in_values
            if _is_padded(reader):
                before = reader.padding * reader.in_channels
                around = (reader.kernel - reader.stride) * reader.in_channels
        starts.append((place, place + before))
        place += values + around
        ends.append(place)
    for i, layer in enumerate(layers):
        rows, taps, positions, step = _product(layer)
        line = np.zeros(k.COLUMNS, np.int64)
        line[[k.POSITIONS, k.ROWS, k.TAPS, k.STEP]] = positions, rows, taps, step
        line[k.SOURCE] = starts[i][0] if _is_padded(layer) else starts[i][1]
        line[k.TARGET] = starts[i + 1][1]
        line[k.WEIGHT], line[k.BIAS] = parameters, parameters + rows * taps
        line[k.CHANNELS] = layer.out_values if layer.kind == "dense" else layer.out_channels
        line[[k.MAP, k.MAP_END]] = starts[i + 1][0], ends[i + 1]
        line[[k.INPUT, k.INPUT_END]] = starts[i][1], starts[i][1] + layer.in_values
        parameters += rows * taps + int(line[k.CHANNELS])
        lines.append(line)
    return Layout(np.stack(lines), place, parameters, layers)


def _is_padded(layer: Layer) -> bool:
    return layer.multiple > 1


def _product(layer: Layer) -> tuple[int, int, int, int]:
    """Return rows, taps, positions and the step from one position to the next."""
    if layer.kind == "dense":
        return layer.out_values, layer.in_values, 1, 0
    if layer.kind == "conv_transpose":
        rows = layer.stride * layer.out_channels
        return rows, layer.in_channels, layer.in_length, layer.in_channels
    taps = layer.kernel * layer.in_channels
    return layer.out_channels, taps, layer.out_length, layer.stride * layer.in_channels
