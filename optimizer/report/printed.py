"""The paper's tables II to VI as printed, with the run's own figures below each."""

from collections.abc import Sequence

from optimizer.compare.printed import APPLICATIONS
from optimizer.printed_tables import (
    TABLE_II,
    TABLE_III,
    TABLE_IV,
    TABLE_V,
    TABLE_VI,
    Application,
)
from optimizer.report.layers import LayerRow, every_cut, genome, layers_on_edge, within_memory
from optimizer.report.summary import RunSummary
from optimizer.report.tables import UNKNOWN, Table

FACTORS = (10, 2, 1)  # the paper's, table III


def application(summary: RunSummary) -> Application | None:
    """Return whose printed figures stand beside the run's; None on other data than the paper's."""
    if summary.is_synthetic:
        return None
    return APPLICATIONS.get(summary.data["name"])


def printed_tables(summary: RunSummary) -> tuple[Table, ...]:
    """Return tables II to VI as printed for the run's application, its own figures below each."""
    wanted = application(summary)
    if wanted is None:
        return ()
    return tuple(make(summary, wanted) for make in (_ii, _iii, _iv, _v, _vi))


def best_totals(summary: RunSummary) -> tuple[tuple[int, LayerRow, float], ...]:
    """Return for each of the paper's fog factors the cut with the least total energy, and that.

    Bounds on memory are kept, those on energies are not: the paper cuts the same network anew.
    """
    own = summary.recipe.partition.fog_factor
    fitting = [cut for cut in every_cut(summary) if within_memory(cut.row)]
    best = []
    for factor in FACTORS:

        def total_j(cut: LayerRow, share: float = own / factor) -> float:
            return cut.row.edge_j + cut.row.fog_j * share

        least = min(fitting, key=total_j)
        best.append((factor, least, total_j(least)))
    return tuple(best)


def _ii(summary: RunSummary, wanted: Application) -> Table:
    rows = [
        [r.name, _mj(r.edge_mj), f"{r.flash_kib:.1f}", f"{r.ram_kib:.1f}", f"{r.accuracy_percent}"]
        for r in TABLE_II
        if r.application == wanted
    ]
    row = summary.chosen
    kib = [f"{row.flash_bytes / 1024:.2f}", f"{row.ram_bytes / 1024:.2f}"]
    ours = ["this run", _mj(1e3 * row.edge_j), *kib, _accuracy(summary)]
    head = ["solution", "edge, mJ", "Flash, KiB", "RAM, KiB", "accuracy, %"]
    return Table("Table II: edge energy", head, [*rows, ours], 1)


def _iii(summary: RunSummary, wanted: Application) -> Table:
    rows = [
        [
            r.name,
            str(r.fog_factor),
            *(_mj(mj) for mj in (r.total_mj, r.edge_compute_mj, r.edge_radio_mj, r.fog_mj)),
            f"{r.accuracy_percent}",
            r.note,
        ]
        for r in TABLE_III
        if r.application == wanted
    ]
    ours = []
    for factor, cut, total_j in best_totals(summary):
        row = cut.row
        parts = total_j, row.cost.head_j, row.cost.tx_j, total_j - row.edge_j
        energies = [_mj(1e3 * joules) for joules in parts]
        accuracy = _accuracy(summary) if row == summary.chosen else UNKNOWN
        where = f"best cut of this network: {cut.layers} layers on the edge, {row.encoding.value}"
        ours.append(["this run", str(factor), *energies, accuracy, where])
    head = ["solution", "factor", "total, mJ", "edge computing", "edge radio", "fog"]
    name = "Table III: energy of edge and fog"
    return Table(name, [*head, "accuracy, %", "note"], [*rows, *ours], len(ours))


def _iv(summary: RunSummary, wanted: Application) -> Table:
    rows = [
        [
            r.name,
            f"{_list(r.lengths)} ({r.point})",
            _list(r.channels),
            _mj(r.whole_mj),
            _mj(r.edge_mj),
        ]
        for r in TABLE_IV
        if r.application == wanted
    ]
    network = genome(summary)
    lengths = f"{_list((*network.lengths, network.classes))} ({layers_on_edge(summary)})"
    whole_j = summary.rows[-1].edge_j
    energies = [_mj(1e3 * whole_j), _mj(1e3 * summary.chosen.edge_j)]
    ours = ["this run", lengths, _list((*network.channels, 1)), *energies]
    head = ["solution", "lengths (weight layers on the edge)", "channels"]
    head += ["unpartitioned, mJ", "partitioned, mJ"]
    return Table("Table IV: networks and what the cut saves", head, [*rows, ours], 1)


def _v(summary: RunSummary, wanted: Application) -> Table:
    rows = [
        [
            r.name,
            _mj(r.edge_mj),
            _mj(r.total_mj),
            UNKNOWN if r.flash_kib is None else f"{r.flash_kib:.1f}",
            UNKNOWN if r.ram_kib is None else f"{r.ram_kib:.1f}",
            f"{r.accuracy_percent}",
            r.note,
        ]
        for r in TABLE_V
        if r.application == wanted
    ]
    row = summary.chosen
    total_j = best_totals(summary)[-1][2]
    kib = [f"{row.flash_bytes / 1024:.2f}", f"{row.ram_bytes / 1024:.2f}"]
    energies = [_mj(1e3 * row.edge_j), _mj(1e3 * total_j)]
    note = "total: this network's best cut at factor 1, as in the paper"
    ours = ["this run", *energies, *kib, _accuracy(summary), note]
    head = ["network", "edge, mJ", "total at factor 1, mJ", "Flash, KiB", "RAM, KiB"]
    return Table("Table V: VGG11", [*head, "accuracy, %", "note"], [*rows, ours], 1)


def _vi(summary: RunSummary, wanted: Application) -> Table:
    rows = [
        [r.name, r.kind, f"{r.accuracy_percent}", str(r.parameters), f"{r.flops / 1e6:g}", r.note]
        for r in TABLE_VI
        if r.application == wanted
    ]
    footprints = genome(summary).footprints()
    kind = "search" if summary.found else "the recipe's network"
    ours = [
        [name, kind, _accuracy(summary), str(told.parameters), f"{2 * told.macs / 1e6:.3g}", note]
        for name, told, note in (
            ("this run, whole", footprints[-1].operations, "2 FLOPs a MAC"),
            ("this run, edge", footprints[layers_on_edge(summary)].operations, ""),
        )
    ]
    head = ["way of searching", "kind", "accuracy, %", "parameters", "FLOPs, M", "note"]
    return Table("Table VI: ways of searching", head, [*rows, *ours], 2)


def _accuracy(summary: RunSummary) -> str:
    repeated = summary.statistics.figures("seed") if summary.statistics else None
    if repeated is not None:
        return f"{100 * repeated.accuracy_mean:.1f} ± {100 * repeated.accuracy_std:.1f}"
    return f"{100 * summary.training.test_scores.accuracy:.1f}"


def _mj(value: float) -> str:
    return f"{value:.3f}" if value >= 0.1 or value == 0 else f"{value:.4f}".removesuffix("0")


def _list(values: Sequence[int]) -> str:
    return " ".join(map(str, values))
