"""Where a model can be cut, which cuts are worth offering, and the cutting itself."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from headtail.bundle.manifest import MAX_SEGMENTS
from headtail.errors import ExportError
from headtail.operations import Operations
from headtail.tensor import TensorSpec
from optimizer.cut.count import count_operations, peak_bytes
from optimizer.cut.graph import Graph
from optimizer.cut.order import Unit, units
from optimizer.cut.segment import Names, build_segment, segment_tensors

AUTO_LIMIT = 8
Selection = Literal["auto", "all"] | tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Cut:
    """One place between two units of a graph, all of whose crossing tensors can travel."""

    index: int
    """Its number among the legal cuts of its graph, from 0."""
    position: int
    """How many units come before it."""
    tensors: tuple[TensorSpec, ...]
    """What crosses, in the order it was made, by the names of the model's file."""
    input_bytes: int
    """Bytes of one window at the model's inputs."""

    @property
    def window_bytes(self) -> int:
        """Bytes of one window's activation as it is in the model (float32 as 4 bytes)."""
        return sum(s.window_bytes for s in self.tensors)


@dataclass(frozen=True, slots=True)
class SegmentGraph:
    """One segment, ready to be stored."""

    content: bytes
    """Serialised ONNX, the same bytes for the same model and cuts."""
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    operations: Operations
    ram_bytes: int
    """Largest sum of tensors alive while it runs on one window, those that skip it included."""
    hidden: dict[str, str]
    """Names inside `content` of the tensors made here, by their names in the model's file."""


@dataclass(frozen=True, slots=True)
class CutModel:
    """A model as a chain of segments."""

    segments: tuple[SegmentGraph, ...]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


def legal_cuts(graph: Graph) -> tuple[Cut, ...]:
    """Return every place where `graph` can be cut, from its input to its outputs.

    Each is a prefix of one topological order; see `optimizer.cut.order` for which order and for
    what is never divided. A cut is left out where a tensor that crosses has no fixed size per
    window, a dtype that cannot travel, or, in a model of batches, no batch axis.
    """
    found: list[Cut] = []
    parts = units(graph)
    input_bytes = sum(s.window_bytes for s in graph.inputs)
    for position in range(1, len(parts)):
        crossing = _crossing(graph, parts, position)
        specs = [graph.spec(name) for name in crossing]
        tensors = tuple(s for s in specs if s is not None)
        if len(tensors) != len(specs) or not tensors:
            continue
        if graph.is_batchable and not all(s.is_batchable for s in tensors):
            continue
        found.append(Cut(len(found), position, tensors, input_bytes))
    return tuple(found)


def select_cuts(cuts: Sequence[Cut], selection: Selection) -> tuple[Cut, ...]:
    """Return the cuts to offer, in order.

    "auto" keeps a cut where less crosses than at every earlier cut and at the model's input. Any
    other one runs more on the edge and sends no less, so no link makes it the cheapest in edge
    energy. Where no cut is smaller than the input, the smallest of all is kept. At most eight are
    kept, evenly spread over the logarithm of their sizes, the smallest always among them.

    Args:
        cuts: All legal cuts of a graph.
        selection: "auto", "all", or indices among `cuts`.

    Raises:
        ExportError: If there are more cuts than a bundle may have, or an index is none of them.
    """
    if selection == "auto":
        return _thin(_smaller_than_before(cuts), AUTO_LIMIT)
    if selection == "all":
        chosen = tuple(cuts)
    else:
        wrong = [i for i in selection if not 0 <= i < len(cuts)]
        if wrong:
            known = f"0 to {len(cuts) - 1}" if cuts else "none"
            raise ExportError("points", f"{wrong[0]} is no legal cut of this model: {known}")
        chosen = tuple(cuts[i] for i in sorted(set(selection)))
    if len(chosen) >= MAX_SEGMENTS:
        raise ExportError(
            "points", f"{len(chosen)} cuts: a bundle holds at most {MAX_SEGMENTS} segments"
        )
    return chosen


def cut_model(graph: Graph, cuts: Sequence[Cut]) -> CutModel:
    """Cut a graph into `len(cuts) + 1` segments.

    A segment takes its inputs by name from the model's inputs and all earlier segments; a tensor
    that skips over a segment is not copied through it.
    """
    parts = units(graph)
    edges = [0, *(c.position for c in cuts), len(parts)]
    groups = [
        tuple(node for unit in parts[a:b] for node in unit) for a, b in itertools.pairwise(edges)
    ]
    crossing = dict.fromkeys(s.name for cut in cuts for s in cut.tensors)
    names = Names(graph, crossing)
    segments = []
    for i, nodes in enumerate(groups):
        later = [n for group in groups[i + 1 :] for n in group]
        tensors = segment_tensors(graph, nodes, later)
        content, hidden = build_segment(graph, nodes, tensors, names)
        segments.append(
            SegmentGraph(
                content=content,
                inputs=tuple(names.public(s) for s in tensors.inputs),
                outputs=tuple(names.public(s) for s in tensors.outputs),
                operations=count_operations(graph, nodes),
                ram_bytes=peak_bytes(graph, nodes, later),
                hidden=hidden,
            )
        )
    return CutModel(tuple(segments), graph.inputs, graph.outputs)


def _crossing(graph: Graph, parts: Sequence[Unit], position: int) -> list[str]:
    """Return what is made before `position` and needed after it, in the order it was made."""
    made = [s.name for s in graph.inputs]
    made += [name for unit in parts[:position] for node in unit for name in node.outputs]
    wanted = {name for unit in parts[position:] for node in unit for name in node.data}
    wanted |= {s.name for s in graph.outputs}
    return [name for name in made if name in wanted]


def _smaller_than_before(cuts: Sequence[Cut]) -> tuple[Cut, ...]:
    smallest = cuts[0].input_bytes if cuts else 0
    kept = []
    for cut in cuts:
        if cut.window_bytes < smallest:
            smallest = cut.window_bytes
            kept.append(cut)
    return tuple(kept) if kept or not cuts else (min(cuts, key=lambda c: c.window_bytes),)


def _thin(cuts: tuple[Cut, ...], limit: int) -> tuple[Cut, ...]:
    """Keep at most `limit`, from largest to smallest activation at even ratios of size."""
    if len(cuts) <= limit:
        return cuts
    first, last = cuts[0].window_bytes, cuts[-1].window_bytes
    kept: dict[int, Cut] = {}
    for step in range(limit):
        wanted = first * (last / first) ** (step / (limit - 1))
        free = [c for c in cuts if c.index not in kept]
        nearest = min(free, key=lambda c: (abs(c.window_bytes / wanted - 1), c.index))
        kept[nearest.index] = nearest
    return tuple(kept[i] for i in sorted(kept))
