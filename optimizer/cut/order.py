"""The order in which a graph's nodes run, in units that no partition point may divide.

Two things make an order good for cutting. Branches are finished one by one (depth first), so that
few tensors are alive at once. And what merely rewrites an operator's output - its batch
normalisation, bias, activation, a concatenation that is complete - follows it at once: onnxruntime
fuses those, and a cut between them costs 2-11 % on both sides.
"""

from collections.abc import Iterable, Mapping, Sequence

from optimizer.cut.graph import Graph, Node
from optimizer.cut.operators import CROPPING, FOLLOWERS, LEADERS, SHAPE_ONLY, WEIGHTED

Unit = tuple[Node, ...]


def units(graph: Graph) -> tuple[Unit, ...]:
    """Return every node once, in a topological order, grouped into units.

    A unit holds one operator that is more than a rewriting, what precedes it and only rewrites the
    model's inputs or earlier units' outputs (a pre-activation), and what follows it at once.
    """
    order = _Order(graph)
    groups: list[list[Node]] = []
    pending: list[Node] = []
    for node in _depth_first(graph):
        pending.extend(order.take(node))
        if any(n.op not in LEADERS and not is_follower(graph, n) for n in pending):
            groups.append(pending)
            pending = []
    if pending and groups:
        groups[-1].extend(pending)
    elif pending:
        groups.append(pending)
    return tuple(tuple(group) for group in groups)


class _Order:
    """Emits nodes, each with the followers that belong to it."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.made = {s.name for s in graph.inputs}
        self.emitted: set[int] = set()
        self.readers = readers(graph.nodes)
        self.kept = {s.name for s in graph.outputs}
        self.is_tight: dict[str, bool] = dict.fromkeys(self.made, False)

    def take(self, node: Node) -> list[Node]:
        """Return `node` and every follower it must not be cut from; [] if it is out already."""
        taken, ahead = [], [node]
        while ahead:
            current = ahead.pop()
            if id(current) in self.emitted:
                continue
            self._emit(current)
            taken.append(current)
            for name in reversed([*current.data, *current.outputs]):
                ahead.extend(reversed(self._bound(name)))
        return taken

    def _emit(self, node: Node) -> None:
        self.emitted.add(id(node))
        self.made.update(node.outputs)
        is_chained = is_follower(self.graph, node) and len(node.data) == 1
        for name in node.outputs:
            self.is_tight[name] = node.op in WEIGHTED or (
                is_chained and self.is_tight[node.data[0]]
            )

    def _bound(self, name: str) -> list[Node]:
        """Return the followers of a tensor that must come before the next cut.

        Those are all that are ready, where the tensor is a weighted operator's output (so that
        they fuse), or where nothing else needs it (so that it dies). A tensor that is needed later
        anyway stays as it is: running its pre-activation early would only add a second tensor.
        """
        waiting = [n for n in self.readers.get(name, ()) if id(n) not in self.emitted]
        ready = [n for n in waiting if self._closes(n) and self.made.issuperset(n.data)]
        is_last = len(ready) == len(waiting) and name not in self.kept
        return ready if self.is_tight[name] or is_last else []

    def _closes(self, node: Node) -> bool:
        """Return whether a node ends what came before rather than preparing what comes next.

        A change of shape does so on the way to an activation or to the model's output only; before
        a convolution or a dense layer it belongs to that one.
        """
        while is_shape_only(self.graph, node):
            after = self.readers.get(node.outputs[0], [])
            if len(after) != 1:
                return node.outputs[0] in self.kept
            node = after[0]
        return is_follower(self.graph, node)


def is_shape_only(graph: Graph, node: Node) -> bool:
    """Return whether a node passes values on in another shape, a slice or padding of nothing too.

    Exporters put such a slice and padding between a transposed convolution and its bias.
    """
    if node.op in CROPPING:
        return graph.window_bytes(node.outputs[0]) == graph.window_bytes(node.data[0])
    return node.op in SHAPE_ONLY


def is_follower(graph: Graph, node: Node) -> bool:
    """Return whether a node only rewrites the output of what came before it."""
    return node.op in FOLLOWERS or is_shape_only(graph, node)


def readers(nodes: Iterable[Node]) -> Mapping[str, list[Node]]:
    """Return the nodes that read each data tensor."""
    found: dict[str, list[Node]] = {}
    for node in nodes:
        for name in node.data:
            found.setdefault(name, []).append(node)
    return found


def _depth_first(graph: Graph) -> Sequence[Node]:
    """Return the nodes in depth-first post-order from the outputs: one branch after another."""
    makers = {name: node for node in graph.nodes for name in node.outputs}
    done: set[int] = set()
    order: list[Node] = []
    for output in graph.outputs:
        stack = [makers[output.name]] if output.name in makers else []
        while stack:
            node = stack[-1]
            missing = [makers[n] for n in node.data if n in makers and id(makers[n]) not in done]
            if missing:
                stack.append(missing[0])
                continue
            stack.pop()
            if id(node) not in done:
                done.add(id(node))
                order.append(node)
    return order
