"""Rows of the paper's printed figures, which no training here stands behind."""

from collections.abc import Iterator

from optimizer.compare.compare import ComparatorRow
from optimizer.printed_tables import TABLE_II, TABLE_V, TABLE_VI, Application
from optimizer.recipe.recipe import Recipe

APPLICATIONS: dict[str, Application] = {"mitbih": "arrhythmia", "chbmit": "seizure"}
"""Of the paper's data sets, by the name of ours."""


def application(recipe: Recipe, dataset: str) -> Application | None:
    """Return whose printed figures belong beside a run's: what [compare] asks for, else its data's.

    Args:
        recipe: With its [compare].
        dataset: Name of the data set that was loaded.
    """
    assert recipe.compare is not None, "asked for"
    asked = recipe.compare.printed
    if asked == "auto":
        return APPLICATIONS.get(dataset)
    return None if asked == "none" else asked


def printed_rows(wanted: Application) -> Iterator[ComparatorRow]:
    """Yield the rows of tables II, V and VI for one application."""
    for edge in TABLE_II:
        if edge.application == wanted:
            yield ComparatorRow(
                edge.name,
                "printed",
                accuracy=edge.accuracy_percent / 100,
                edge_j=edge.edge_mj / 1e3,
                note=f"table II; {edge.flash_kib} KiB Flash, {edge.ram_kib} KiB RAM on the edge",
            )
    for reference in TABLE_V:
        if reference.application == wanted:
            yield ComparatorRow(
                reference.name,
                "printed",
                accuracy=reference.accuracy_percent / 100,
                edge_j=reference.edge_mj / 1e3,
                total_j=reference.total_mj / 1e3,
                note="; ".join(filter(None, ("table V, fog factor 1", reference.note))),
            )
    for benchmark in TABLE_VI:
        if benchmark.application == wanted:
            on_edge = benchmark.is_partitioned
            flops = f"table VI; {benchmark.kind}, {benchmark.flops / 1e6:g} M FLOPs"
            yield ComparatorRow(
                benchmark.name,
                "printed",
                accuracy=benchmark.accuracy_percent / 100,
                parameters=None if on_edge else benchmark.parameters,
                edge_parameters=benchmark.parameters if on_edge else None,
                note="; ".join(filter(None, (flops, benchmark.note))),
            )
