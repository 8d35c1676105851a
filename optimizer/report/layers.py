"""What a run's network costs when it is cut after any of its layers, offered or not."""

from dataclasses import dataclass

from headtail.bundle.profiles import find_device, find_link
from headtail.operations import Operations
from optimizer.network import Genome
from optimizer.package.points import Profiles
from optimizer.partition import Row, before_training, list_rows, within_device
from optimizer.report.summary import RunSummary
from optimizer.search.genome_cost import price

MEMORY = {"flash_bytes", "ram_bytes"}


@dataclass(frozen=True, slots=True)
class LayerRow:
    """One cut with one encoding."""

    layers: int
    """Weight layers on the edge."""
    row: Row
    """As the bundle's point has it or, where the bundle has none there, as a search prices it."""
    payload_bytes: int
    point: int | None
    """The bundle's partition point; None where it offers none after these layers."""


def genome(summary: RunSummary) -> Genome:
    """Return the network of a run: the one found, or the recipe's own."""
    network = summary.found.network if summary.found else summary.recipe.network
    return network.genome(len(summary.labels)).phenotype


def layers_at(summary: RunSummary, point: int) -> int:
    """Return how many weight layers run on the edge at a partition point of the bundle.

    A bundle's points may be fewer than the layers: the head's MACs tell where it ends.
    """
    segments = summary.packed.manifest.segments[:point]
    head = sum((s.operations for s in segments), start=Operations()).macs
    ends = [f.operations.macs for f in genome(summary).footprints()]
    return max(i for i, end in enumerate(ends) if end <= head)


def layers_on_edge(summary: RunSummary) -> int:
    """Return how many weight layers run on the edge at the chosen point."""
    return layers_at(summary, summary.chosen.point)


def every_cut(summary: RunSummary) -> tuple[LayerRow, ...]:
    """Return the cut after every layer with every encoding, none and all of them among them.

    Raises:
        ConfigError: If a profile that the bundle does not bring along can no longer be read.
    """
    partition = summary.recipe.partition
    brought, cost = summary.packed.manifest.profiles, summary.choice.cost
    device = find_device(brought, cost.device_profile)
    link = find_link(brought, cost.link_profile)
    points = price(genome(summary), Profiles((device,), (link,)), partition.encodings)
    bounds = within_device(before_training(partition.bounds), device)
    offered = {layers_at(summary, p.index): p.index for p in summary.packed.manifest.points}
    known = {(row.point, row.encoding): row for row in summary.rows}
    told = []
    for row in list_rows(points, bounds, device.name, link.name, partition.fog_factor):
        point = offered.get(row.point)
        own = known.get((-1 if point is None else point, row.encoding))
        wire = points[row.point].wire(row.encoding)
        assert wire is not None, "rows come from the points"
        payload = wire.bytes if own is None else summary.wire_bytes(own)
        told.append(LayerRow(row.point, own or row, payload, point if own else None))
    return tuple(told)


def within_memory(row: Row) -> bool:
    """Return whether a row keeps the bounds on memory, whatever its energy."""
    return not {excess.bound for excess in row.excesses} & MEMORY
