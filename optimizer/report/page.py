"""The report as one HTML page that needs nothing but a browser."""

from collections.abc import Iterator, Mapping

from optimizer.report.comparison import comparison_table, noise
from optimizer.report.facts import kept_epoch, protocol_section, tiles, time_section
from optimizer.report.field import field_section
from optimizer.report.layers import genome, layers_on_edge
from optimizer.report.printed import printed_tables
from optimizer.report.radio import radio_rows
from optimizer.report.repeats import repeats_table
from optimizer.report.summary import RunSummary
from optimizer.report.tables import UNKNOWN, Table, class_table
from optimizer.report.template import (
    PAGE,
    beside,
    escape,
    folded,
    plots,
    section,
    table,
    wide,
)
from optimizer.report.text import SYNTHETIC, points_table, show_j

SEARCH_PLOTS = ("front_edge", "front_total", "generations", "hypervolume")


def render_page(summary: RunSummary, drawn: Mapping[str, str]) -> str:
    """Return the page.

    Args:
        summary: What it tells.
        drawn: Drawings as SVG texts by name; sections whose drawings or data are missing are left
            out.
    """
    recipe = summary.recipe
    warning = f'<div class="warning">{SYNTHETIC}</div>' if summary.is_synthetic else ""
    return PAGE.substitute(
        title=escape(f"{recipe.name} {recipe.version}"),
        subtitle=escape(f"{recipe.task} · digest {summary.packed.digest[:12]}"),
        warning=warning,
        tiles="".join(tiles(summary)),
        sections="\n".join(s for s in _sections(summary, drawn) if s),
    )


def _sections(summary: RunSummary, drawn: Mapping[str, str]) -> Iterator[str]:
    yield _network(summary, drawn)
    yield _search(summary, drawn)
    yield _points(summary, drawn)
    yield field_section(summary.field)
    yield _radio(summary, drawn)
    yield _comparison(summary, drawn)
    yield _printed(summary)
    yield _classes(summary, drawn)
    yield _repeats(summary, drawn)
    yield _training(summary, drawn)
    yield protocol_section(summary)
    yield time_section(summary)


def _network(summary: RunSummary, drawn: Mapping[str, str]) -> str:
    network, cut = genome(summary), layers_on_edge(summary)
    note = (
        f"{len(network.layers())} layers, {cut} of them on the edge. A box is a map, length x"
        " channels; on an arrow the layer with kernel (k) and stride (s)."
    )
    return section("network", "Network and cut", note, wide(drawn["network"]))


def _search(summary: RunSummary, drawn: Mapping[str, str]) -> str:
    found, shown = summary.found, [drawn[name] for name in SEARCH_PLOTS if name in drawn]
    if found is None or not shown:
        return ""
    last = found.generations[-1]
    goals = ", ".join(goal.replace("_", " ") for goal in found.goals)
    note = (
        f"{last.known} networks seen, {last.trained} of them trained briefly ({found.stuck} came to"
        f" do no better than one class for everything), {len(found.front)} on the front of {goals};"
        " those that score much worse lie on the bottom line. Scores are"
        " of one half of the validation split; the other half chose among the finalists, so they"
        " are above what a test shows."
    )
    return section("search", "Search", note, plots(shown))


def _points(summary: RunSummary, drawn: Mapping[str, str]) -> str:
    cost = summary.choice.cost
    note = (
        f"Modelled for {cost.device_profile} over {cost.link_profile}, mode {cost.mode}, for a cut"
        " after every layer; a point is one that the bundle offers. With no layer on the edge the"
        " raw window is sent. A bar that would dwarf the others is broken off."
    )
    head, rows = points_table(summary)
    marks = [
        "own" if row == summary.chosen else "" if row.is_feasible else "out" for row in summary.rows
    ]
    shown = folded("all figures of the bundle's points", table(Table("points", head, rows), marks))
    return section("points", "Energy at every partition point", note, wide(drawn["points"]), shown)


def _radio(summary: RunSummary, drawn: Mapping[str, str]) -> str:
    rows = radio_rows(summary)
    note = (
        f"The chosen point's {rows[0].payload_bytes} B over the paper's radio, which sends payload"
        " bits alone, and over Bluetooth LE packet by packet with headers, acknowledgements and"
        " connection events. Keeping the link idle is in no"
        " message; the best point is the one with the least edge energy over that link."
    )
    head = ["link", "mode", "computing", "sending", "edge", "beyond an idle link"]
    head += ["idle link", "best point"]
    cells = [
        [
            r.link,
            r.mode,
            *(show_j(joules) for joules in (r.head_j, r.radio_j, r.edge_j)),
            UNKNOWN if r.marginal_j is None else show_j(r.marginal_j),
            f"{1e6 * r.idle_w:.3g} µW",
            f"{r.best_point}, {r.best_encoding}: {show_j(r.best_j)}",
        ]
        for r in rows
    ]
    return section(
        "radio",
        "The chosen point under each radio model",
        note,
        wide(drawn["radio"]),
        table(Table("radio", head, cells)),
    )


def _comparison(summary: RunSummary, drawn: Mapping[str, str]) -> str:
    if summary.comparison is None:
        return ""
    note = (
        f"{noise(summary).text} Measured: trained here, in the same harness, on the same splits."
        " Printed: the paper's own figures, one run each. Calculated: priced, not trained. Bars are"
        " one standard deviation over the repeats, of a single run its standard error."
    )
    head, rows = comparison_table(summary.comparison.rows)
    shown = wide(drawn["comparison"]) if "comparison" in drawn else ""
    return section("comparison", "Comparison", note, shown, table(Table("comparison", head, rows)))


def _printed(summary: RunSummary) -> str:
    tables = printed_tables(summary)
    if not tables:
        return ""
    repeated = summary.statistics is not None and summary.statistics.figures("seed")
    over = ", mean and standard deviation over its seeds" if repeated else ""
    protocol = summary.data["protocol"]
    apart = "" if protocol == "paper" else " The paper's is another: the accuracies do not compare."
    note = (
        "Energy-aware NAS with partitioning, as printed, one run each; below each table this run,"
        f" test accuracy under protocol {protocol}{over}.{apart} {noise(summary).text}"
    )
    shown = [f"<h3>{escape(t.name)}</h3>{table(t)}" for t in tables]
    return section("printed", "The paper's tables beside this run", note, *shown)


def _classes(summary: RunSummary, drawn: Mapping[str, str]) -> str:
    test = summary.training.test_scores
    note = (
        f"Accuracy {100 * test.accuracy:.1f} %, macro-F1 {test.macro_f1:.3f} on"
        f" {noise(summary).windows} windows. Sensitivity: share of a class's windows"
        " that were given it. PPV, positive predictive value: share of the windows given it that"
        " have it."
    )
    shown = beside(drawn["confusion"], table(class_table(summary)))
    return section("classes", "Classes on the test split", note, shown)


def _repeats(summary: RunSummary, drawn: Mapping[str, str]) -> str:
    record = summary.statistics
    if record is None or not record.repeats:
        return ""
    shown = plots([drawn["repeats_accuracy"], drawn["repeats_macro_f1"]])
    note = f"{record.protocol}. A band is the mean with one standard deviation on either side."
    return section("repeats", "Repeats", note, shown, table(repeats_table(record)))


def _training(summary: RunSummary, drawn: Mapping[str, str]) -> str:
    note = f"By epoch, on the training and the validation split; {kept_epoch(summary)}."
    shown = plots([drawn["loss"], drawn["validation"]])
    return section("training", "Training", note, shown)
