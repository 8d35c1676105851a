"""The table of rivals as a drawing: accuracy before and after training, a row for each method."""

from optimizer.report.chart import Key, draw_keys
from optimizer.report.svg import BEST, EDGE, MUTED, RADIO, Sheet, number, scale
from optimizer.rivals.record import RivalsRecord

WIDTH, TOP, ROW, NAMES, RIGHT = 820.0, 46.0, 26.0, 210.0, 70.0


def draw_rivals(record: RivalsRecord) -> str:
    """Return an SVG: a dot for each mean, a bar of one standard deviation either way."""
    rows = record.rows
    ends = []
    for row in rows:
        spread = row.accuracy.std or 0.0
        ends += [row.accuracy.mean - spread, row.accuracy.mean + spread]
    low = min(ends)
    x = scale([100 * low, 100 * max(ends)], (NAMES, WIDTH - RIGHT))
    height = TOP + ROW * len(rows) + 44
    sheet = Sheet(WIDTH, height, f"Accuracy of {record.name} by method")
    bottom = TOP + ROW * len(rows)
    for tick in x.ticks():
        sheet.line((x(tick), TOP - 6), (x(tick), bottom))
        sheet.text((x(tick), bottom + 16), number(tick), "middle", fill=MUTED, font_size=11)
    base = x(100 * rows[0].accuracy.mean)
    sheet.line((base, TOP - 6), (base, bottom), MUTED, "4 3")
    for i, row in enumerate(rows):
        y = TOP + ROW * (i + 0.5)
        sheet.text((NAMES - 12, y + 4), row.name, "end")
        mean, spread = 100 * row.accuracy.mean, 100 * (row.accuracy.std or 0.0)
        color = BEST if row.method == "gradcam" else EDGE
        sheet.path([(x(mean - spread), y), (x(mean + spread), y)], color, 2.5)
        hover = f"{row.name}: {mean:.1f} % ± {spread:.1f}, {row.macs.mean / 1e6:.2f} MMACs"
        sheet.dot((x(mean), y), 5, color, hover)
        if row.before is not None:
            before = 100 * row.before.mean
            inside = before >= x.low
            place = x(before) if inside else x.start
            sheet.mark((place, y), "diamond", RADIO, f"{row.name} before: {before:.1f} %", 4.0)
            if not inside:
                sheet.text((place + 9, y + 4), f"{before:.0f}", fill=MUTED, font_size=10)
        sheet.text((WIDTH - RIGHT + 10, y + 4), f"{mean:.1f}", font_size=11)
    keys = [
        Key("after training", EDGE, "circle"),
        Key("ahead of it (at the edge: lower, in percent)", RADIO, "diamond"),
    ]
    draw_keys(sheet, keys, (NAMES, 20))
    split, images = rows[0].split, record.images
    text = f"accuracy in percent, {images} {split} images; dashed: unpruned"
    sheet.text(((NAMES + WIDTH - RIGHT) / 2, height - 8), text, "middle")
    return sheet.svg() + "\n"
