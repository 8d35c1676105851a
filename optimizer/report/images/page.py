"""The report of a run on images as one HTML page that needs nothing but a browser."""

from collections.abc import Iterator

import msgspec

from optimizer.report.comparison import noise
from optimizer.report.facts import time_section
from optimizer.report.images.costs import retained_table, trained_table
from optimizer.report.images.freezing import draw_energies, draw_mask, draw_masks, draw_passes
from optimizer.report.images.heatmaps import Heatmap, pictures
from optimizer.report.images.pruning_section import pruning_section
from optimizer.report.images.summary import ImageSummary
from optimizer.report.tables import UNKNOWN, Table, class_figures, split_table
from optimizer.report.template import (
    PAGE,
    beside,
    escape,
    folded,
    plots,
    section,
    table,
    tile,
    wide,
)
from optimizer.report.text import describe_scores, points_table, show_j, trivial
from optimizer.report.training import draw_confusion, draw_training


def render_image_page(summary: ImageSummary, heatmaps: tuple[Heatmap, ...]) -> str:
    """Return the page; sections that the recipe does not ask for are left out."""
    recipe = summary.recipe
    return PAGE.substitute(
        title=escape(f"{recipe.name} {recipe.version}"),
        subtitle=escape(f"{recipe.task} · digest {summary.packed.digest[:12]}"),
        warning="",
        tiles="".join(_tiles(summary)),
        sections="\n".join(s for s in _sections(summary, heatmaps) if s),
    )


def _sections(summary: ImageSummary, heatmaps: tuple[Heatmap, ...]) -> Iterator[str]:
    yield _heatmaps(heatmaps)
    yield _freezing(summary)
    yield pruning_section(summary)
    yield _costs(summary)
    yield _classes(summary)
    yield _training(summary)
    yield _points(summary)
    yield _protocol(summary)
    yield time_section(summary)


def _tiles(summary: ImageSummary) -> Iterator[str]:
    test, row = summary.training.test_scores, summary.chosen
    yield tile(
        f"{100 * test.accuracy:.1f} %",
        f"test accuracy, standard error {100 * noise(summary).error:.1f} points; the commonest"
        f" class alone gives {100 * trivial(summary):.1f} %",
    )
    yield tile(f"{test.macro_f1:.3f}", f"test macro-F1, protocol {summary.data['protocol']}")
    if summary.freezing is not None:
        mask = summary.freezing.mask
        yield tile(f"{mask.count('1')} of {len(mask)}", "layers trained on, the others frozen")
    if summary.pruned is not None:
        pruned = summary.pruned
        yield tile(
            f"{100 * pruned.last.macs / pruned.macs:.0f} %",
            f"of the multiply-accumulates left, {pruned.last.channels} of {pruned.channels}"
            " channels that can be dropped",
        )
    yield tile(f"{summary.parameters:,}", f"parameters, {row.flash_bytes // 4:,} on the edge")
    yield tile(
        f"point {row.point} of {summary.rows[-1].point}, {row.encoding.value}",
        f"{summary.wire_bytes(row)} bytes an image on the wire; modelled edge energy"
        f" {show_j(row.edge_j)}",
    )


def _heatmaps(heatmaps: tuple[Heatmap, ...]) -> str:
    if not heatmaps:
        return ""
    note = (
        "Images of the test split beside the same with Grad-CAM over them: bright is what speaks"
        " for the class that the finished model gives, by its last feature maps."
    )
    return section("heatmaps", "Where the model looks", note, pictures(heatmaps))


def _freezing(summary: ImageSummary) -> str:
    record = summary.freezing
    if record is None:
        return ""
    saved = record.flops / record.whole_flops if record.whole_flops else 0.0
    note = (
        f"{record.mask.count('1')} of {len(record.mask)} layers, passes over the images:"
        f" {len(record.passes)}; {100 * saved:.0f} % of the operations of training all"
        f" ({record.training_s:.1f} s measured); what lies below the first of them is computed once"
        f" and kept, {record.cached_bytes / 2**20:.1f} MiB. Test: "
        f"{describe_scores(record.test_scores)}."
    )
    bodies = [wide(draw_mask(record))]
    if record.selection is not None:
        config = summary.recipe.freeze
        assert config is not None, "it was selected for"
        bodies.append(plots([draw_masks(record, config), draw_energies(record)]))
        note += f" Found among {len(record.selection.individuals)} masks."
    return section("freezing", "Layers trained on", note, *bodies)


def _costs(summary: ImageSummary) -> str:
    record = summary.costs
    if record is None:
        return ""
    missing = "; ".join(record.missing_meters)
    note = (
        f"Trainings of {record.epochs} passes over {record.images} images; modelled energy is"
        f" {record.power_w:g} W ({record.power}) x the time of an epoch; the first, which builds"
        " the graph and fills the cache, is left out where there are several."
        f"{f' Not measured: {missing}.' if missing else ''} Models of which channels were dropped"
        " are trained briefly before they are looked at; latencies are of one image, one thread,"
        " the models taking turns."
    )
    return section(
        "costs",
        "What training and keeping costs",
        note,
        "<h3>By trained layers, counted from the output</h3>",
        table(trained_table(record)),
        "<h3>By retained channels of every layer</h3>",
        table(retained_table(record)),
    )


def _classes(summary: ImageSummary) -> str:
    test = summary.training.test_scores
    note = (
        f"Accuracy {100 * test.accuracy:.1f} %, macro-F1 {test.macro_f1:.3f} on"
        f" {noise(summary).windows} images. Precision is the share of the images given a class that"
        " have it, recall the share of a class's images that were given it."
    )
    head, rows = ["class", "images", "precision", "recall", "F1"], []
    for told in class_figures(summary):
        known = (told.ppv, told.sensitivity, told.f1)
        shown = [UNKNOWN if value is None else f"{100 * value:.1f} %" for value in known]
        rows.append([told.label, str(told.windows), *shown])
    drawn = draw_confusion(test.confusion, summary.labels)
    figures = table(Table("classes", head, rows))
    return section("classes", "Classes on the test split", note, beside(drawn, figures))


def _training(summary: ImageSummary) -> str:
    bodies = ["<h3>First training</h3>"]
    bodies.append(plots(draw_training(summary.adapted.epochs, summary.recipe.train).values()))
    if summary.freezing is not None and summary.freezing.passes:
        losses = [(done.epoch, done.loss) for done in summary.freezing.passes]
        bodies += ["<h3>Chosen layers</h3>", plots([draw_passes(losses)])]
    if summary.pruned is not None and summary.recipe.prune is not None:
        config = summary.recipe.prune.fine_tune
        for number, step in enumerate(summary.pruned.steps, start=1):
            bodies.append(f"<h3>After pruning step {number}</h3>")
            bodies.append(plots(draw_training(step.training.epochs, config).values()))
    note = "By epoch, on the training and the validation split."
    return section("training", "Trainings", note, *bodies)


def _points(summary: ImageSummary) -> str:
    cost = summary.choice.cost
    note = (
        f"Modelled for {cost.device_profile} over {cost.link_profile}, mode {cost.mode}. Accuracies"
        f" are of at most {summary.recipe.export.accuracy_images} validation images."
    )
    head, rows = points_table(summary)
    marks = [
        "own" if row == summary.chosen else "" if row.is_feasible else "out" for row in summary.rows
    ]
    return section("points", "Partition points", note, table(Table("points", head, rows), marks))


def _protocol(summary: ImageSummary) -> str:
    data, recipe = summary.data, summary.recipe
    skipped = data.get("skipped", 0)
    named = ", ".join(data.get("skipped_files", ()))
    facts = {
        "data": f"{data['name']}, protocol {data['protocol']}, images of {data['height']} x"
        f" {data['width']}",
        "images skipped": f"{skipped}: {named}" if skipped else "none",
        "data fingerprint": data["fingerprint"],
        "backbone": f"{recipe.backbone.network}, weights {recipe.backbone.weights}",
        "seed": f"{recipe.seed}; the data were split with {recipe.data.seed}",
        "first training": f"test {describe_scores(summary.adapted.test_scores)}",
        "validation": describe_scores(summary.training.validation_scores),
        "test": f"{describe_scores(summary.training.test_scores)}; it decided nothing",
        "verified": f"segments equal Keras before softmax within {summary.verified_error:.1e} of"
        f" the largest output, on {summary.verified_windows} images",
        **(
            {"accuracy floor": f"{floor:.1%} on the validation images; agents pick nothing below"}
            if (floor := recipe.partition.accuracy_floor) is not None
            else {}
        ),
        "bundle": f"{summary.bundle}, {summary.packed.size_bytes} bytes",
        "digest": summary.packed.digest,
    }
    lines = (f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in facts.items())
    read = msgspec.json.format(msgspec.json.encode(recipe), indent=2).decode("utf-8")
    return section(
        "protocol",
        "Protocol, splits and seed",
        "",
        f"<dl>{''.join(lines)}</dl>\n<h3>Images by split and class</h3>",
        table(split_table(summary)),
        folded("the recipe as it was read", f"<pre>{escape(read)}</pre>"),
    )
