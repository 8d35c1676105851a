"""The frame of a report's page: HTML with its style and script inside, nothing from elsewhere.

Hover texts are the `<title>` of each shape; the script only shows them at once, on touch and on
keyboard focus too. Without it browsers show them by themselves.
"""

import html
from collections.abc import Iterable, Sequence
from string import Template

from optimizer.report.tables import Table

PAGE = Template("""\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline';
 script-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
:root { color: #1f2937; background: #f3f4f6; font: 15px/1.5 system-ui, sans-serif; }
body { margin: 0; }
main { max-width: 64rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
h1 { font-size: 1.7rem; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 0 0 .5rem; }
h3 { font-size: .95rem; margin: 1.4rem 0 .4rem; }
p { margin: .25rem 0 .9rem; }
.sub { color: #6b7280; font-size: .92rem; }
.warning { background: #b91c1c; color: white; font-weight: 700; padding: .9rem 1.25rem;
  border-radius: .5rem; margin-bottom: 1.5rem; font-size: 1.05rem; }
.tiles { display: grid; gap: .75rem;
  grid-template-columns: repeat(auto-fit, minmax(9.2rem, 1fr)); }
.tile, section { background: white; border: 1px solid #e5e7eb; border-radius: .6rem;
  padding: 1rem 1.25rem; }
section { margin-top: 1rem; }
.tile b { display: block; font-size: 1.3rem; line-height: 1.3; }
.tile span { color: #6b7280; font-size: .85rem; display: block; line-height: 1.35; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .85rem;
  font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .28rem .5rem; border-bottom: 1px solid #eef0f3;
  white-space: nowrap; vertical-align: top; }
th { color: #6b7280; font-weight: 600; }
th:first-child, td:first-child { text-align: left; }
.notes { color: #6b7280; font-size: .8rem; margin: .4rem 0 0; padding-left: 1.4rem; }
sup { color: #6b7280; font-weight: 400; padding-left: .15rem; line-height: 0; }
tr.own td { background: #ecfdf3; font-weight: 600; }
tr.out td { color: #9ca3af; }
.plots { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(21rem, 1fr)); }
.plots > * { min-width: 0; }
figure { margin: 0; overflow-x: auto; }
svg { max-width: 100%; height: auto; display: block; }
.wide svg { min-width: 44rem; }
.plots svg { min-width: 20rem; }
.beside { display: flex; flex-wrap: wrap; gap: 2rem; align-items: center; }
.beside > * { min-width: 0; max-width: 100%; }
.beside table { width: auto; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1.25rem; margin: 0;
  font-size: .9rem; }
dt { color: #6b7280; } dd { margin: 0; overflow-wrap: anywhere; }
pre { background: #f9fafb; padding: .75rem; border-radius: .4rem; overflow-x: auto;
  font-size: .8rem; margin: .5rem 0 0; }
summary { cursor: pointer; color: #6b7280; margin-top: .9rem; }
[data-hover] { cursor: default; }
[data-hover]:hover, [data-hover]:focus { stroke: #111827; stroke-width: 1.5; outline: none; }
#hover { position: fixed; z-index: 1; display: none; pointer-events: none; white-space: pre-line;
  max-width: 20rem; background: #111827; color: white; font-size: .8rem; line-height: 1.4;
  padding: .5rem .7rem; border-radius: .4rem; }
@media (max-width: 40rem) {
  main { padding: 1.25rem .6rem 3rem; }
  .tile, section { padding: .8rem .8rem; }
  .plots { grid-template-columns: minmax(0, 1fr); }
  dl { grid-template-columns: minmax(0, 1fr); gap: 0; } dd { margin-bottom: .5rem; }
}
@media print { section { break-inside: avoid; } }
</style>
</head>
<body><main>
<h1>$title</h1>
<p class="sub">$subtitle</p>
$warning
<div class="tiles">$tiles</div>
$sections
</main>
<div id="hover" role="status"></div>
<script>
"use strict";
const box = document.getElementById("hover");
function show(shape, x, y) {
  box.textContent = shape.dataset.hover;
  box.style.display = "block";
  const left = Math.min(x + 14, innerWidth - box.offsetWidth - 8);
  const top = y + 18 + box.offsetHeight > innerHeight ? y - box.offsetHeight - 12 : y + 18;
  box.style.left = Math.max(8, left) + "px";
  box.style.top = Math.max(8, top) + "px";
}
function hide() { box.style.display = "none"; }
for (const title of document.querySelectorAll("svg title")) {
  const shape = title.parentNode;
  shape.dataset.hover = title.textContent;
  shape.setAttribute("aria-label", title.textContent);
  shape.setAttribute("tabindex", "0");
  title.remove();
  shape.addEventListener("pointermove", e => show(shape, e.clientX, e.clientY));
  shape.addEventListener("pointerleave", hide);
  shape.addEventListener("focus", () => {
    const edge = shape.getBoundingClientRect();
    show(shape, edge.right, edge.bottom);
  });
  shape.addEventListener("blur", hide);
}
</script>
</body>
</html>
""")


def section(name: str, title: str, note: str, *bodies: str) -> str:
    """Return one section; `name` is its id, `note` a line of text under the title or nothing."""
    said = f'<p class="sub">{escape(note)}</p>' if note else ""
    return f'<section id="{name}"><h2>{escape(title)}</h2>{said}\n{"".join(bodies)}</section>'


def wide(svg: str) -> str:
    """Return a drawing over the whole width; on a narrow screen it scrolls."""
    return f'<figure class="wide">{svg}</figure>\n'


def plots(svgs: Iterable[str]) -> str:
    """Return drawings side by side where there is room."""
    return f'<div class="plots">{"".join(f"<figure>{svg}</figure>" for svg in svgs)}</div>\n'


def beside(*bodies: str) -> str:
    """Return things beside one another, each as wide as it is."""
    return f'<div class="beside">{"".join(f"<div>{body}</div>" for body in bodies)}</div>\n'


def tile(figure: str, text: str) -> str:
    """Return one of the large figures on top."""
    return f'<div class="tile"><b>{escape(figure)}</b><span>{escape(text)}</span></div>'


def table(shown: Table, marks: Sequence[str] | None = None) -> str:
    """Return a table; `marks` are the classes of its rows, those of the run itself by default.

    A last column "note" becomes numbered lines below it.
    """
    has_notes = shown.head[-1] == "note"
    head, rows = shown.head, shown.rows
    notes: dict[str, int] = {}
    if has_notes:
        head, told, rows = head[:-1], [row[-1] for row in rows], [row[:-1] for row in rows]
        notes = {note: i for i, note in enumerate(dict.fromkeys(filter(None, told)), start=1)}
    count = len(rows)
    given = marks or ["own" if i >= count - shown.own else "" for i in range(count)]
    lines = [_line("th", head, "")]
    for i, (row, mark) in enumerate(zip(rows, given, strict=True)):
        number = notes.get(told[i]) if has_notes else None
        lines.append(_line("td", row, mark, number))
    listed = "".join(f"<li>{escape(note)}</li>" for note in notes)
    below = f'<ol class="notes">{listed}</ol>' if listed else ""
    return f'<div class="scroll"><table>{"".join(lines)}</table></div>{below}\n'


def folded(title: str, body: str) -> str:
    """Return what is shown when its title is clicked."""
    return f"<details><summary>{escape(title)}</summary>{body}</details>\n"


def escape(text: str) -> str:
    """Return a text as HTML, its microjoules with the Greek letter."""
    return html.escape(text.replace("**", "").replace(" uJ", " µJ"))


def _line(cell: str, values: Sequence[str], mark: str, note: int | None = None) -> str:
    sup = "" if note is None else f"<sup>{note}</sup>"
    texts = [escape(value) for value in values]
    texts[0] += sup
    cells = "".join(f"<{cell}>{text}</{cell}>" for text in texts)
    return f'<tr class="{mark}">{cells}</tr>' if mark else f"<tr>{cells}</tr>"
