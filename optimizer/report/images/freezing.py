"""Drawings of layer freezing: the mask over the network, the masks tried, and the training."""

import math
from collections.abc import Sequence

from optimizer.freeze.config import FreezeConfig
from optimizer.freeze.record import FreezingRecord
from optimizer.report.chart import X_PIXELS, Y_PIXELS, Key, chart, draw_keys
from optimizer.report.svg import BEST, EDGE, FAINT, MUTED, RADIO, Scale, Sheet, scale

WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 940.0, 200.0, 62.0, 30.0, 40.0


def draw_mask(record: FreezingRecord) -> str:
    """Draw a bar for every layer in the order of the network, high by its parameters."""
    sheet = Sheet(WIDTH, HEIGHT, "layers that are trained on, and frozen ones")
    draw_keys(sheet, [Key("trained on", EDGE, "box"), Key("frozen", FAINT, "box")], (LEFT, 18))
    count = len(record.layers)
    step = (WIDTH - LEFT - 8) / count
    base = HEIGHT - BOTTOM
    most = math.log10(max(10, *record.parameters))
    y = Scale(0, most, base, TOP)
    for power in range(0, math.floor(most) + 1, max(1, math.ceil(most / 5))):
        sheet.line((LEFT, y(power)), (WIDTH - 8, y(power)))
        sheet.text((LEFT - 6, y(power) + 4), f"{10**power:,}", "end", fill=MUTED, font_size=10)
    rows = zip(record.layers, record.parameters, record.trained, strict=True)
    for i, (name, parameters, is_trained) in enumerate(rows):
        top = min(y(math.log10(max(1, parameters))), base - 3)
        hover = f"{name}\n{parameters:,} parameters, {'trained on' if is_trained else 'frozen'}"
        size = max(step - (2 if step > 4 else 0.5), 0.6), base - top
        sheet.box((LEFT + i * step, top), size, EDGE if is_trained else FAINT, hover)
    sheet.text((LEFT, HEIGHT - 12), "input", fill=MUTED, font_size=11)
    sheet.text((WIDTH - 8, HEIGHT - 12), "output", "end", fill=MUTED, font_size=11)
    sheet.text(((LEFT + WIDTH) / 2, HEIGHT - 12), "layers with weights", "middle")
    turned = f"rotate(-90 14 {(base + TOP) / 2:g})"
    sheet.text((10, (base + TOP) / 2), "parameters", "middle", transform=turned)
    return sheet.svg()


def draw_masks(record: FreezingRecord, config: FreezeConfig) -> str:
    """Draw the score of every mask that was tried by how many layers it trains.

    Args:
        record: With a selection.
        config: What the score is.
    """
    assert record.selection is not None, "masks were tried"
    found = record.selection
    x = Scale(0, len(record.layers), *X_PIXELS)
    name, unit = "sum of the trained layers' values", 1
    if config.fitness == "trained":
        name, unit = f"{config.select.replace('_', '-')} on the validation split, %", 100
    y = scale([unit * i.score for i in found.individuals], Y_PIXELS)
    drawn = chart(x, y, "trained layers", name, "every mask that was tried")
    front = {i.mask for i in found.front}
    for shown in found.individuals:
        is_best, is_front = shown.mask == found.best.mask, shown.mask in front
        hover = (
            f"{shown.trained_layers} layers trained, score {unit * shown.score:.4g}\n"
            f"cost {shown.cost:.3g}, predicted energy {shown.energy_j:.3g} J"
        )
        color = BEST if is_best else RADIO if is_front else FAINT
        place = drawn.place(shown.trained_layers, unit * shown.score)
        drawn.sheet.mark(place, "star" if is_best else "circle", color, hover)
    keys = [Key("chosen", BEST, "star"), Key("on the front", RADIO, "dot")]
    draw_keys(drawn.sheet, [*keys, Key("others", FAINT, "dot")], (X_PIXELS[0], 18))
    return drawn.sheet.svg()


def draw_energies(record: FreezingRecord) -> str:
    """Draw the predicted energy of the training of every mask by how many layers it trains."""
    assert record.selection is not None, "masks were tried"
    found = record.selection.individuals
    x = Scale(0, len(record.layers), *X_PIXELS)
    y = scale([i.energy_j for i in found], Y_PIXELS, 0.0)
    name = "predicted energy of the brief training, J"
    drawn = chart(x, y, "trained layers", name, "predicted training energy of every mask")
    best = record.selection.best.mask
    for shown in found:
        is_best = shown.mask == best
        hover = f"{shown.trained_layers} layers trained: {shown.energy_j:.3g} J"
        place = drawn.place(shown.trained_layers, shown.energy_j)
        kind, color = ("star", BEST) if is_best else ("circle", EDGE)
        drawn.sheet.mark(place, kind, color, hover)
    return drawn.sheet.svg()


def draw_passes(losses: Sequence[tuple[int, float]]) -> str:
    """Draw the training loss of every pass over the images."""
    y = scale([loss for _, loss in losses], Y_PIXELS, 0.0)
    x = Scale(0, max(1, losses[-1][0]), *X_PIXELS)
    drawn = chart(x, y, "pass", "training loss under the mask", "loss of the chosen layers")
    drawn.curve(losses, EDGE)
    drawn.dots([(n, loss, f"pass {n}\nloss {loss:.4g}") for n, loss in losses], EDGE)
    return drawn.sheet.svg()
