"""What the rules of the layers write down as a model is traced."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from optimizer.prune.channels import Channels, Ids
from optimizer.prune.flow import Flow


@dataclass(slots=True)
class LayerChannels:
    """Where a layer's weights and configuration depend on channels."""

    operation: Any
    path: str
    weights: dict[tuple[str, int], Ids | None] = field(default_factory=dict)
    """Ids along an axis of a weight, by attribute and axis; None: it stays as it is."""
    reads: set[tuple[str, int]] = field(default_factory=set)
    """Which of `weights` are read from: zeros there undo a channel for everything after."""
    sizes: dict[tuple[str, int | None], Ids] = field(default_factory=dict)
    """Configuration keys (and place in them) that count the kept among these ids."""
    inputs: dict[int, tuple[int, Ids] | None] = field(default_factory=dict)
    """Of a nested model: the axis and ids of its inputs; None: an input stays as it is."""


@dataclass(frozen=True, slots=True)
class Work:
    """Multiply-accumulates of one call: factor x kept inputs x kept outputs."""

    path: str
    factor: int | None
    """None where the size of the input is open."""
    inputs: Ids | int
    outputs: Ids | int


class Tracer:
    """Channels, layers and work met so far."""

    def __init__(self) -> None:
        self.channels = Channels()
        self.layers: dict[int, LayerChannels] = {}
        self.work: list[Work] = []
        self._scopes: list[str] = []
        self._made: dict[int, Ids] = {}

    def path(self, operation: Any) -> str:
        """Return the operation's name, after those of the models that hold it."""
        return self.of(operation).path

    def of(self, operation: Any) -> LayerChannels:
        """Return the record of an operation, a new one at the first call."""
        if id(operation) not in self.layers:
            path = "/".join([*self._scopes, operation.name])
            self.layers[id(operation)] = LayerChannels(operation, path)
        return self.layers[id(operation)]

    def enter(self, model: Any) -> None:
        """Note that what follows is inside a nested model."""
        self._scopes.append(model.name)

    def leave(self) -> None:
        """Note that the nested model is over."""
        self._scopes.pop()

    def made(self, operation: Any, count: int) -> Ids:
        """Return the ids of the channels that an operation makes, the same at every call."""
        if id(operation) not in self._made:
            self._made[id(operation)] = self.channels.fresh(self.path(operation), count)
        return self._made[id(operation)]

    def bind(
        self, operation: Any, weight: str, axis: int, ids: Ids | None, reads: bool = False
    ) -> None:
        """Note whose channels lie along an axis of a weight; calls of a shared layer are tied.

        Args:
            operation: The layer.
            weight: Attribute that holds the variable; one that the layer goes without is skipped.
            axis: Axis of the variable.
            ids: Ids along it; None where the tensor must stay as it is.
            reads: Whether the layer takes the channels in by this weight, rather than passing each
                on by itself.
        """
        if getattr(operation, weight, None) is None:
            return
        record, key = self.of(operation), (weight, axis)
        if reads:
            record.reads.add(key)
        record.weights[key] = self._joined(record, record.weights.get(key, ids), ids)

    def size(self, operation: Any, key: str, ids: Ids, place: int | None = None) -> None:
        """Note that an operation's configuration counts these channels."""
        record = self.of(operation)
        known = record.sizes.get((key, place), ids)
        record.sizes[key, place] = ids
        self._joined(record, known, ids)

    def bind_input(self, model: Any, place: int, axis: int | None, ids: Ids | None) -> None:
        """Note what a nested model is called with; its calls are tied."""
        record = self.of(model)
        new = None if axis is None or ids is None else (axis, ids)
        known = record.inputs.get(place, new)
        if known is not None and new is not None and known[0] == new[0]:
            record.inputs[place] = known
            self._joined(record, known[1], new[1])
            return
        for pair in (known, new):
            if pair is not None:
                self.channels.freeze(pair[1], f"'{record.path}' is shared with a fixed tensor")
        record.inputs[place] = None

    def along(self, operation: Any, flow: Flow, axis: int) -> Ids | None:
        """Return the ids along the axis whose channels an operation mixes; None: fixed.

        Channels along any other axis are frozen.
        """
        axis %= len(flow.shape)
        if flow.axis not in (None, axis):
            self.freeze(flow, f"'{self.path(operation)}' mixes its input along another axis")
        return flow.ids if flow.axis == axis else None

    def freeze(self, flow: Flow, reason: str) -> None:
        """Freeze the channels of a tensor, if it has any."""
        self.channels.freeze(flow.ids, reason)

    def frozen(self, count: int, reason: str) -> Ids:
        """Return ids for channels of a fixed tensor."""
        ids = self.channels.fresh("", count)
        self.channels.freeze(ids, reason)
        return ids

    def unite(self, flows: Sequence[Flow], reason: str) -> Flow | None:
        """Tie tensors of one shape that share an axis, and return the first; None: all frozen."""
        if any(f.axis is None for f in flows):
            why = next(f.reason for f in flows if f.axis is None)
            for flow in flows:
                self.freeze(flow, f"{reason} with {why}")
            return None
        for flow in flows[1:]:
            self.channels.tie(flows[0].ids, flow.ids)
        return flows[0]

    def _joined(self, record: LayerChannels, known: Ids | None, ids: Ids | None) -> Ids | None:
        if known is not None and ids is not None:
            if not np.array_equal(known, ids):
                self.channels.tie(known, ids)
            return known
        for row in (known, ids):
            if row is not None:
                self.channels.freeze(row, f"'{record.path}' is shared with a fixed tensor")
        return None
