"""A drawing of the network: its maps, the layers between them, and where it is cut."""

import math

from optimizer.network import Layer
from optimizer.report.layers import genome, layers_on_edge
from optimizer.report.summary import RunSummary
from optimizer.report.svg import BEST, EDGE, FOG, INK, MUTED, Sheet

LEAST_WIDTH, COLUMN, TALLEST, SHORTEST = 940.0, 96.0, 150.0, 14.0
KINDS = {"conv": "convolution", "conv_transpose": "transposed convolution", "dense": "dense"}
SHORT = {"conv": "conv", "conv_transpose": "conv up", "dense": "dense"}


def draw_network(summary: RunSummary) -> str:
    """Draw the maps as boxes, edge and fog in two colours, and what crosses between them."""
    network, cut = genome(summary), layers_on_edge(summary)
    layers = network.layers()
    maps = [*zip(network.lengths, network.channels, strict=True), (network.classes, 1)]
    width = max(LEAST_WIDTH, COLUMN * len(maps))
    column = width / len(maps)
    sheet = Sheet(width, 290, "the network and where it is cut")
    middle, tallest = 150.0, math.log2(1 + max(length for length, _ in maps))
    for i, (length, channels) in enumerate(maps):
        color = EDGE if i <= cut else FOG
        x = column * (i + 0.5)
        height = SHORTEST + (TALLEST - SHORTEST) * math.log2(1 + length) / tallest
        thickness = min(0.4 * column, 7 + 4.5 * math.log2(channels))
        hover = _describe_map(i, maps, layers)
        corner = (x - thickness / 2, middle - height / 2)
        sheet.box(corner, (thickness, height), color, hover, rx=2)
        sheet.text((x, middle + TALLEST / 2 + 20), f"{length} x {channels}", "middle")
        name = "input" if i == 0 else "classes" if i == len(maps) - 1 else f"map {i}"
        below = (x, middle + TALLEST / 2 + 35)
        sheet.text(below, name, "middle", fill=MUTED, font_size=11)
    _draw_cut(sheet, summary, column * (cut + 1), cut == len(layers))
    for i, layer in enumerate(layers):
        _draw_layer(sheet, layer, (column * (i + 0.5), column * (i + 1.5)), middle)
    return sheet.svg()


def _draw_layer(sheet: Sheet, layer: Layer, columns: tuple[float, float], middle: float) -> None:
    """Draw the arrow from map to map with kernel and stride on it."""
    start, end = columns
    reach = (end - start) * 0.24
    tip = end - reach
    sheet.line((start + reach, middle), (tip - 4, middle), MUTED)
    sheet.path([(tip - 6, middle - 3.5), (tip, middle), (tip - 6, middle + 3.5)], MUTED, 1, MUTED)
    center = (start + end) / 2
    style = {"font_size": 10.5, "stroke": "white", "stroke_width": 5, "paint_order": "stroke"}
    sheet.text((center, middle - 20), SHORT[layer.kind], "middle", **style)
    if layer.kind != "dense":
        kernel = f"k {layer.kernel}, s {layer.stride}"
        sheet.text((center, middle - 7), kernel, "middle", **style)


def _draw_cut(sheet: Sheet, summary: RunSummary, x: float, is_whole: bool) -> None:
    row = summary.chosen
    x = min(x, sheet.width - 2)
    sheet.line((x, 34), (x, 268), BEST, "6 4")
    sent = f"{summary.wire_bytes(row)} B cross as {row.encoding.value}"
    anchor = "middle" if 90 < x < sheet.width - 90 else "start" if x <= 90 else "end"
    sheet.text((x, 284), sent, anchor, fill=BEST, font_weight=700)
    sheet.text((x - 10, 28), "edge", "end", fill=EDGE, font_weight=700)
    if not is_whole:
        sheet.text((x + 10, 28), "fog", fill=FOG, font_weight=700)
    sheet.text((x, 14), f"point {row.point}", anchor, fill=INK, font_size=11)


def _describe_map(i: int, maps: list[tuple[int, int]], layers: tuple[Layer, ...]) -> str:
    length, channels = maps[i]
    if i == 0:
        return f"input: {length} samples x {channels} channels"
    layer = layers[i - 1]
    operations = layer.operations
    return (
        f"{length} x {channels} from a {KINDS[layer.kind]}\nkernel {layer.kernel}, stride"
        f" {layer.stride}\n{operations.parameters} parameters, {operations.macs} MACs"
    )
