"""The report as one HTML page that needs nothing but a browser."""

import html
from collections.abc import Mapping, Sequence
from string import Template

import msgspec

from optimizer.report_text import (
    SYNTHETIC,
    confusion_table,
    describe_scores,
    format_j,
    points_table,
    trivial,
)
from optimizer.run_summary import RunSummary

_PAGE = Template("""\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
:root { color: #1f2937; background: #f3f4f6; font: 15px/1.5 system-ui, sans-serif; }
body { margin: 0; }
main { max-width: 62rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
h1 { font-size: 1.7rem; margin: 0; }
h2 { font-size: 1.1rem; margin: 0 0 .75rem; }
.sub { color: #6b7280; margin: .25rem 0 1.5rem; }
.warning { background: #b91c1c; color: white; font-weight: 700; padding: .9rem 1.25rem;
  border-radius: .5rem; margin-bottom: 1.5rem; font-size: 1.05rem; }
.tiles { display: grid; gap: .75rem;
  grid-template-columns: repeat(auto-fit, minmax(10.5rem, 1fr)); }
.tile, section { background: white; border: 1px solid #e5e7eb; border-radius: .6rem;
  padding: 1rem 1.25rem; }
section { margin-top: 1rem; overflow-x: auto; }
.tile b { display: block; font-size: 1.3rem; line-height: 1.3; }
.tile span { color: #6b7280; font-size: .85rem; display: block; line-height: 1.35; }
table { border-collapse: collapse; width: 100%; font-size: .85rem;
  font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .28rem .6rem; border-bottom: 1px solid #eef0f3;
  white-space: nowrap; }
th { color: #6b7280; font-weight: 600; }
th:last-child, td:last-child { text-align: left; white-space: normal; }
th:nth-child(2), td:nth-child(2) { text-align: left; }
tr.chosen td { background: #ecfdf3; font-weight: 600; }
tr.out td { color: #9ca3af; }
.confusion { display: flex; flex-wrap: wrap; gap: 2rem; align-items: center; }
.confusion table { width: auto; }
.confusion th:nth-child(2), .confusion td:nth-child(2) { text-align: right; }
svg { max-width: 100%; height: auto; display: block; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1.25rem; margin: 0;
  font-size: .9rem; }
dt { color: #6b7280; } dd { margin: 0; overflow-wrap: anywhere; }
pre { background: #f9fafb; padding: .75rem; border-radius: .4rem; overflow-x: auto;
  font-size: .8rem; margin: .5rem 0 0; }
summary { cursor: pointer; color: #6b7280; margin-top: .9rem; }
</style>
</head>
<body><main>
<h1>$title</h1>
<p class="sub">$subtitle</p>
$warning
<div class="tiles">$tiles</div>
<section><h2>Edge energy at every partition point</h2>
<p class="sub">$energy_note</p>
$plot_points
</section>
<section><h2>Partition points</h2>$points</section>
<section><h2>Classes on the test split</h2>
<div class="confusion"><div>$plot_confusion</div><div>$confusion</div></div></section>
<section><h2>Training</h2>$plot_training</section>
<section><h2>Where it comes from</h2>$facts
<details><summary>the recipe as it was read</summary><pre>$recipe</pre></details></section>
</main></body>
</html>
""")


def render_page(summary: RunSummary, plots: Mapping[str, str]) -> str:
    """Return the page; `plots` holds SVG texts by name: points, training, confusion."""
    recipe = summary.recipe
    cost = summary.choice.cost
    warning = f'<div class="warning">{SYNTHETIC}</div>' if summary.is_synthetic else ""
    return _PAGE.substitute(
        title=_escape(f"{recipe.name} {recipe.version}"),
        subtitle=_escape(f"{recipe.task} · digest {summary.packed.digest[:12]}"),
        warning=warning,
        tiles="".join(_tiles(summary)),
        energy_note=_escape(
            f"Modelled for {cost.device_profile} over {cost.link_profile}, mode {cost.mode}. At"
            " point k the first k segments run on the edge; point 0 sends the raw window."
        ),
        plot_points=plots["points"],
        plot_training=plots["training"],
        plot_confusion=plots["confusion"],
        points=_points(summary),
        confusion=_table(*confusion_table(summary)),
        facts=_facts(summary),
        recipe=_escape(_recipe(summary)),
    )


def _tiles(summary: RunSummary) -> list[str]:
    row, test = summary.chosen, summary.training.test_scores
    last = summary.rows[-1].point
    protocol = summary.data["protocol"]
    return [
        _tile(
            f"point {row.point} of {last}, {row.encoding.value}",
            f"chosen: {summary.wire_bytes(row)} bytes a window on the wire",
        ),
        _tile(
            format_j(row.edge_j).replace("uJ", "µJ"),
            f"modelled edge energy a window; the raw window in the fog costs {_raw(summary)}",
        ),
        _tile(
            f"{100 * test.accuracy:.1f} %",
            f"test accuracy, protocol {protocol}; the commonest class alone gives"
            f" {100 * trivial(summary):.1f} %",
        ),
        _tile(f"{test.macro_f1:.3f}", f"test macro-F1, protocol {protocol}"),
        _tile(
            f"{summary.parameters}",
            f"parameters, {row.flash_bytes // 4} of them on the edge",
        ),
    ]


def _raw(summary: RunSummary) -> str:
    cheapest = min((r for r in summary.rows if r.point == 0), key=lambda r: r.edge_j)
    return f"{format_j(cheapest.edge_j).replace('uJ', 'µJ')} as {cheapest.encoding.value}"


def _points(summary: RunSummary) -> str:
    head, rows = points_table(summary)
    marks = [
        "chosen" if row == summary.chosen else "" if row.is_feasible else "out"
        for row in summary.rows
    ]
    return _table(head, rows, marks)


def _facts(summary: RunSummary) -> str:
    training, data = summary.training, summary.data
    facts = {
        "data": f"{data['name']}, protocol {data['protocol']}",
        **{f"{s} windows": _counts(c) for s, c in data["counts"].items()},
        "data fingerprint": data["fingerprint"],
        "seed": str(summary.recipe.seed),
        **({"network found by search": str(summary.found)} if summary.found else {}),
        "validation": f"{describe_scores(training.validation_scores)}; chose epoch"
        f" {training.best_epoch} of {len(training.epochs)}",
        "test": describe_scores(training.test_scores),
        "verified": f"segments equal Keras before softmax within {summary.verified_error:.1e} of"
        f" the largest output, on {summary.verified_windows} windows",
        "bundle": f"{summary.bundle}, {summary.packed.size_bytes} bytes",
        "digest": summary.packed.digest,
    }
    lines = (f"<dt>{_escape(k)}</dt><dd>{_escape(v)}</dd>" for k, v in facts.items())
    return f"<dl>{''.join(lines)}</dl>"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{label} {count}" for label, count in counts.items())


def _recipe(summary: RunSummary) -> str:
    return msgspec.json.format(msgspec.json.encode(summary.recipe), indent=2).decode("utf-8")


def _tile(figure: str, text: str) -> str:
    return f'<div class="tile"><b>{_escape(figure)}</b><span>{_escape(text)}</span></div>'


def _table(
    head: Sequence[str], rows: Sequence[Sequence[str]], marks: Sequence[str] | None = None
) -> str:
    lines = ["".join(f"<th>{_escape(cell)}</th>" for cell in head)]
    lines += ["".join(f"<td>{_escape(cell)}</td>" for cell in row) for row in rows]
    classes = ["", *(marks or [""] * len(rows))]
    body = "".join(f'<tr class="{c}">{x}</tr>' for c, x in zip(classes, lines, strict=True))
    return f"<table>{body}</table>"


def _escape(text: str) -> str:
    return html.escape(text.replace("**", "").replace(" uJ", " µJ"))
