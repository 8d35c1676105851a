"""What a report says in figures and words: the large figures on top, protocol, and time spent."""

from collections.abc import Iterator

import msgspec

from optimizer.package.cuts import CAPTION, HEAD, cut_rows
from optimizer.report.captured import captured_text
from optimizer.report.comparison import noise
from optimizer.report.summary import RunSummary, Summary
from optimizer.report.tables import Table, split_table
from optimizer.report.template import beside, escape, folded, section, table, tile
from optimizer.report.text import describe_scores, show_j, trivial


def tiles(summary: RunSummary) -> Iterator[str]:
    """Yield the large figures on top of the page."""
    row, test = summary.chosen, summary.training.test_scores
    named = summary.data["protocol"]
    cheapest = min((r for r in summary.rows if r.point == 0), key=lambda r: r.edge_j)
    yield tile(
        f"point {row.point} of {summary.rows[-1].point}, {row.encoding.value}",
        f"chosen: {summary.wire_bytes(row)} bytes a window on the wire",
    )
    yield tile(
        show_j(row.edge_j),
        "modelled edge energy a window; the raw window in the fog costs"
        f" {show_j(cheapest.edge_j)} as {cheapest.encoding.value}",
    )
    if summary.recipe.partition.objective == "total_energy":
        factor = summary.recipe.partition.fog_factor
        yield tile(
            show_j(row.total_j),
            f"of edge and fog together, the fog {factor:g} times as efficient",
        )
    repeated = summary.statistics.figures("seed") if summary.statistics else None
    if repeated is not None:
        yield tile(
            f"{100 * repeated.accuracy_mean:.1f} ± {100 * repeated.accuracy_std:.1f} %",
            f"test accuracy over {repeated.count} seeds, mean and standard deviation",
        )
    yield tile(
        f"{100 * test.accuracy:.1f} %",
        f"test accuracy of the bundle, standard error {100 * noise(summary).error:.1f} points,"
        f" protocol {named}; the commonest class alone gives {100 * trivial(summary):.1f} %",
    )
    yield tile(f"{test.macro_f1:.3f}", f"test macro-F1, protocol {named}")
    yield tile(f"{summary.parameters}", f"parameters, {row.flash_bytes // 4} of them on the edge")


def kept_epoch(summary: RunSummary) -> str:
    """Say which epoch was kept, and why."""
    training, select = summary.training, summary.recipe.train.select
    if select == "last":
        return f"the last of {len(training.epochs)} epochs was kept, whatever it gave"
    return f"chose epoch {training.best_epoch} of {len(training.epochs)}"


def protocol_section(summary: RunSummary) -> str:
    """Return the section on data, splits, seed and bundle."""
    training, data = summary.training, summary.data
    facts = {
        "data": f"{data['name']}, protocol {data['protocol']}",
        "data fingerprint": data["fingerprint"],
        **({"captured inputs": captured} if (captured := captured_text(data)) else {}),
        "window steps": _steps(summary),
        "seed": f"{summary.recipe.seed}; the data were split with {summary.recipe.data.seed}",
        **({"network found by search": str(summary.found)} if summary.found else {}),
        "validation": f"{describe_scores(training.validation_scores)}; {kept_epoch(summary)}",
        "test": f"{describe_scores(training.test_scores)}; looked at once",
        "verified": f"segments equal Keras before softmax within {summary.verified_error:.1e} of"
        f" the largest output, on {summary.verified_windows} windows",
        **(
            {"accuracy floor": f"{floor:.1%} on the validation windows; agents pick nothing below"}
            if (floor := summary.recipe.partition.accuracy_floor) is not None
            else {}
        ),
        "bundle": f"{summary.bundle}, {summary.packed.size_bytes} bytes",
        "digest": summary.packed.digest,
    }
    lines = (f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in facts.items())
    read = msgspec.json.format(msgspec.json.encode(summary.recipe), indent=2).decode("utf-8")
    return section(
        "protocol",
        "Protocol, splits and seed",
        "",
        f"<dl>{''.join(lines)}</dl>\n<h3>Windows by split and class</h3>",
        table(split_table(summary)),
        folded("the recipe as it was read", f"<pre>{escape(read)}</pre>"),
    )


def _steps(summary: RunSummary) -> str:
    """Return what makes the network's input from a window: the recipe's steps, or those found."""
    steps = summary.recipe.steps(summary.found.winner.input if summary.found else 0)
    told = [
        f"{step.name}({', '.join(f'{k} {v}' for k, v in step.parameters.items())})"
        for step in steps
    ]
    return ", then ".join(told) or "none"


def time_section(summary: Summary) -> str:
    """Return the section on the stages' times, or nothing where none is known."""
    if not summary.seconds:
        return ""
    total = sum(summary.seconds.values())
    rows = [[name, f"{s:.1f} s", f"{100 * s / total:.0f} %"] for name, s in summary.seconds.items()]
    rows.append(["all", f"{total:.1f} s", "100 %"])
    shown = table(Table("time", ["stage", "time", "share"], rows))
    return section(
        "time",
        "Time spent",
        "Of stages that an interrupted run finished earlier it is what reading them took.",
        beside(shown),
        *_cut_costs(summary),
    )


def _cut_costs(summary: Summary) -> Iterator[str]:
    if summary.cut_costs:
        yield "<h3>Cost of the cuts</h3>"
        yield f"<p>{escape(CAPTION)}</p>"
        yield beside(table(Table("cuts", HEAD, cut_rows(summary.cut_costs))))
