"""One training step of a chain of small layers, and one pass of them, compiled by Numba.

Every layer is the same product at each of its positions: of `rows` outputs with `taps` inputs. A
convolution reads overlapping or neighbouring taps, a transposed convolution whose kernel equals its
stride writes `stride * channels` neighbouring rows, a dense layer has one position. A map lies as
(sample and channel, lane): `LANES` windows innermost, zeros around it where a convolution reads
them.
"""

import numpy as np
from numba import njit

from headtail.tensor import Array
from optimizer.fast.lanes import (
    LANES,
    add_1_by_1,
    add_1_row,
    add_2_rows,
    add_4_by_1,
    add_4_by_2,
    add_4_rows,
)

# Columns of a layer's line in the table of a network, all counted in rows of LANES values.
POSITIONS, ROWS, TAPS, STEP = 0, 1, 2, 3
SOURCE, TARGET = 4, 5  # where the first tap and the first output lie
WEIGHT, BIAS, CHANNELS = 6, 7, 8  # where in the parameters, and how many biases
MAP, MAP_END = 9, 10  # the whole of the target's map with the zeros around it
INPUT, INPUT_END = 11, 12  # the values that enter, without the zeros around them
COLUMNS = 13

_FAST = {"contract", "reassoc", "nsz", "arcp"}
_BLOCK = 16


@njit(cache=True, fastmath=_FAST, nogil=True, boundscheck=False)
def _forward_layer(line: Array, p: Array, a: Array) -> None:
    rows, taps = line[1], line[2]
    for position in range(line[0]):
        source = line[4] + position * line[3]
        target = line[5] + position * rows
        for m in range(rows):
            a[(target + m) * LANES : (target + m + 1) * LANES] = p[line[7] + m % line[8]]
        m = 0
        while m + 4 <= rows:
            add_4_rows(a, target + m, a, source, p, line[6] + m, 1, rows, taps)
            m += 4
        if m + 2 <= rows:
            add_2_rows(a, target + m, a, source, p, line[6] + m, 1, rows, taps)
            m += 2
        if m < rows:
            add_1_row(a, target + m, a, source, p, line[6] + m, 1, rows, taps)


@njit(cache=True, fastmath=_FAST, nogil=True, boundscheck=False)
def _rectify(a: Array, first: int, last: int) -> None:
    for i in range(first * LANES, last * LANES):
        a[i] = max(a[i], np.float32(0.0))


@njit(cache=True, fastmath=_FAST, nogil=True, boundscheck=False)
def _quantise(a: Array, first: int, last: int, wire: Array) -> None:
    scale, zero, low, high = wire[0], wire[1], wire[2], wire[3]
    for i in range(first * LANES, last * LANES):
        stored = np.rint(a[i] / scale) + zero
        a[i] = (min(max(stored, low), high) - zero) * scale


@njit(cache=True, fastmath=_FAST, nogil=True, boundscheck=False)
def forward(table: Array, p: Array, a: Array, cut: int, wire: Array) -> None:
    """Run a chunk of windows through all layers; with `wire[0]` > 0 quantise the map at `cut`.

    Args:
        table: The layers, shape (layers, COLUMNS), int64.
        p: Parameters, float32.
        a: Maps, float32; the input's is filled, the zeros around maps are zeros.
        cut: Layers ahead of the wire.
        wire: Scale, zero point, lowest and highest stored value; a scale of 0 quantises nothing.
    """
    layers = len(table)
    for n in range(layers):
        line = table[n]
        if n == cut and wire[0] > 0:
            _quantise(a, line[11], line[12], wire)
        _forward_layer(line, p, a)
        if n < layers - 1:
            _rectify(a, line[5], line[5] + line[0] * line[1])


@njit(cache=True, fastmath=_FAST, nogil=True, boundscheck=False)
def _add_bias_gradient(line: Array, g: Array, d: Array) -> None:
    rows = line[1]
    for position in range(line[0]):
        for m in range(rows):
            total = np.float32(0.0)
            first = (line[5] + position * rows + m) * LANES
            for b in range(first, first + LANES):
                total += d[b]
            g[line[7] + m % line[8]] += total


@njit(cache=True, fastmath=_FAST, nogil=True, boundscheck=False)
def _add_weight_gradient(line: Array, g: Array, a: Array, d: Array) -> None:
    positions, rows, taps, step = line[0], line[1], line[2], line[3]
    k = 0
    while k < taps:
        wide = k + 4 <= taps
        m = 0
        while m < rows:
            j = line[6] + k * rows + m
            source, target = line[4] + k, line[5] + m
            if wide and m + 2 <= rows:
                add_4_by_2(g, j, rows, a, source, step, d, target, rows, positions)
                m += 1
            elif wide:
                add_4_by_1(g, j, rows, a, source, step, d, target, rows, positions)
            else:
                add_1_by_1(g, j, rows, a, source, step, d, target, rows, positions)
            m += 1
        k += 4 if wide else 1


@njit(cache=True, fastmath=_FAST, nogil=True, boundscheck=False)
def _add_input_gradient(line: Array, p: Array, d: Array) -> None:
    rows, taps, weight = line[1], line[2], line[6]
    for position in range(line[0]):
        source = line[4] + position * line[3]
        target = line[5] + position * rows
        k = 0
        while k + 4 <= taps:
            add_4_rows(d, source + k, d, target, p, weight + k * rows, rows, 1, rows)
            k += 4
        while k < taps:
            add_1_row(d, source + k, d, target, p, weight + k * rows, rows, 1, rows)
            k += 1


@njit(cache=True, fastmath=_FAST, nogil=True, boundscheck=False)
def _backward(table: Array, p: Array, g: Array, a: Array, d: Array) -> None:
    """Add the gradients of a chunk; that of the logits is in `d` at the last layer's target."""
    for n in range(len(table) - 1, -1, -1):
        line = table[n]
        if n < len(table) - 1:
            for i in range(line[5] * LANES, (line[5] + line[0] * line[1]) * LANES):
                if a[i] <= 0:
                    d[i] = 0
        _add_bias_gradient(line, g, d)
        _add_weight_gradient(line, g, a, d)
        if n > 0:
            d[table[n - 1, 9] * LANES : table[n - 1, 10] * LANES] = 0
            _add_input_gradient(line, p, d)


@njit(cache=True, nogil=True, boundscheck=False)
def _take(windows: Array, chosen: Array, a: Array, first: int) -> None:
    """Turn chosen windows, shape (N, values), into lanes; lanes without one hold zeros."""
    values = windows.shape[1]
    count = len(chosen)
    for begin in range(0, values, _BLOCK):
        end = min(begin + _BLOCK, values)
        for b in range(LANES):
            place = (first + begin) * LANES + b
            if b < count:
                row = windows[chosen[b]]
                for i in range(begin, end):
                    a[place] = row[i]
                    place += LANES
            else:
                for _ in range(begin, end):
                    a[place] = 0
                    place += LANES


@njit(cache=True, fastmath=_FAST, nogil=True, boundscheck=False)
def _loss(
    a: Array, d: Array, line: Array, chosen: Array, targets: Array, weights: Array, count: int
) -> float:
    """Return the chunk's summed cross-entropy; put the gradient of its mean where `d` begins."""
    classes = line[1]
    first = line[5] * LANES
    total = 0.0
    d[first : first + classes * LANES] = 0
    for b in range(len(chosen)):
        window = chosen[b]
        largest = a[first + b]
        for c in range(1, classes):
            largest = max(largest, a[first + c * LANES + b])
        whole = np.float32(0.0)
        for c in range(classes):
            whole += np.exp(a[first + c * LANES + b] - largest)
        for c in range(classes):
            shifted = a[first + c * LANES + b] - largest
            total -= weights[window] * targets[window, c] * (shifted - np.log(whole))
            share = np.exp(shifted) / whole
            d[first + c * LANES + b] = (share - targets[window, c]) * weights[window] / count
    return total


@njit(cache=True, fastmath=_FAST, nogil=True, boundscheck=False)
def _adam(p: Array, g: Array, m: Array, v: Array, rate: float, step: int) -> None:
    """Change the parameters as Keras' Adam does; `step` counts from 1."""
    first, second = 0.9, 0.999
    alpha = np.float32(rate * np.sqrt(1 - second**step) / (1 - first**step))
    keep, keep_square, small = np.float32(1 - first), np.float32(1 - second), np.float32(1e-7)
    for i in range(len(p)):
        m[i] += (g[i] - m[i]) * keep
        v[i] += (g[i] * g[i] - v[i]) * keep_square
        p[i] -= m[i] * alpha / (np.sqrt(v[i]) + small)


@njit(cache=True, fastmath=_FAST, nogil=True, boundscheck=False)
def train_pass(
    table: Array,
    state: Array,
    windows: Array,
    targets: Array,
    weights: Array,
    order: Array,
    rates: Array,
    step: int,
    maps: int,
    cut: int,
    wire: Array,
) -> float:
    """Train for one pass; return the mean loss of its steps.

    Args:
        table: The layers, shape (layers, COLUMNS), int64.
        state: Parameters and Adam's two moments, shape (3, parameters), float32; changed in place.
        windows: Shape (N, values), float32.
        targets: Share of each class, shape (N, classes), float32.
        weights: Weight of each window in the loss, shape (N,), float32.
        order: Windows of each step, shape (steps, batch), int64.
        rates: Learning rate of each step, shape (steps,), float64.
        step: Steps made in earlier passes.
        maps: Rows of LANES values that all maps take.
        cut: Layers ahead of the wire.
        wire: As `forward` takes it.
    """
    p, m, v = state[0], state[1], state[2]
    g = np.zeros_like(p)
    a, d = np.zeros(maps * LANES, np.float32), np.zeros(maps * LANES, np.float32)
    total, batch = 0.0, order.shape[1]
    for s in range(len(order)):
        g[:] = 0
        for begin in range(0, batch, LANES):
            chosen = order[s, begin : min(begin + LANES, batch)]
            _take(windows, chosen, a, table[0, 11])
            forward(table, p, a, cut, wire)
            total += _loss(a, d, table[-1], chosen, targets, weights, batch) / batch
            _backward(table, p, g, a, d)
        _adam(p, g, m, v, rates[s], step + s + 1)
    return total / len(order)


@njit(cache=True, fastmath=_FAST, nogil=True, boundscheck=False)
def run(
    table: Array, p: Array, windows: Array, maps: int, cut: int, wire: Array, out: Array, n: int
) -> None:
    """Run windows of shape (N, values); write what leaves layer `n`, from 1, to rows of `out`."""
    a = np.zeros(maps * LANES, np.float32)
    begin = table[n - 1, 5]
    end = begin + table[n - 1, 0] * table[n - 1, 1]
    for window in range(0, len(windows), LANES):
        chosen = np.arange(window, min(window + LANES, len(windows)))
        _take(windows, chosen, a, table[0, 11])
        forward(table[:n], p, a, cut, wire)
        for b in range(len(chosen)):
            for i in range(end - begin):
                out[chosen[b], i] = a[(begin + i) * LANES + b]
