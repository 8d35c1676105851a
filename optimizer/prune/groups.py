"""Pruning groups of a model: channels of several layers that go together."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from headtail.errors import PruningError
from optimizer.prune.channels import Ids
from optimizer.prune.trace import trace_model
from optimizer.prune.tracer import LayerChannels, Tracer, Work

Keep = Mapping[str, Sequence[int]]
"""Which channels of a group stay, by its name; a group that is not named stays whole."""
Kept = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class PruningGroup:
    """Channels that the same layers make: channel i of one goes with channel i of the others."""

    name: str
    """The first layer that makes them, with `#2` and so on for its further groups."""
    layers: tuple[str, ...]
    """Every layer that makes them, in the order of the model; of a nested one, its path."""
    members: tuple[tuple[int, ...], ...]
    """Ids of each channel."""

    @property
    def width(self) -> int:
        """How many channels it has, each to keep or to drop."""
        return len(self.members)


@dataclass(frozen=True, slots=True)
class Kernel:
    """A weight of two or more axes that makes channels."""

    variable: Any
    axis: int
    """Of its channels."""
    ids: Ids
    """Of each of them."""
    path: str
    """Of the layer."""


@dataclass(frozen=True, slots=True)
class FrozenChannels:
    """Channels of one layer that stay whatever is asked."""

    layer: str
    count: int
    reason: str


@dataclass(frozen=True, slots=True)
class ChannelGroups:
    """What of a model can be pruned, what not and why, and what each channel costs."""

    groups: tuple[PruningGroup, ...]
    """In the order of the model."""
    frozen: tuple[FrozenChannels, ...]
    parts: tuple[LayerChannels, ...]
    """Where the layers' weights and configurations depend on channels."""
    work: tuple[Work, ...]
    owners: tuple[str, ...]
    """Which layer makes each channel id; empty for a fixed tensor's."""

    def __getitem__(self, name: str) -> PruningGroup:
        """Return a group by its name.

        Raises:
            PruningError: If there is none.
        """
        found = next((g for g in self.groups if g.name == name), None)
        if found is None:
            known = ", ".join(g.name for g in self.groups[:8]) or "none"
            raise PruningError(f"pruning group '{name}'", f"no such group; the first are {known}")
        return found

    def kernels(self) -> Iterator[Kernel]:
        """Yield what makes channels, in the order of the model; biases do not."""
        for part in self.parts:
            for (name, axis), ids in part.weights.items():
                variable = getattr(part.operation, name)
                if ids is not None and len(variable.shape) > 1 and (name, axis) not in part.reads:
                    yield Kernel(variable, axis, ids, part.path)

    def kept(self, keep: Keep) -> Kept:
        """Return for every channel id whether it stays.

        Raises:
            PruningError: If a group does not exist, or keeps nothing, a channel twice, or one that
                it does not have.
        """
        kept = np.ones(len(self.owners), np.bool_)
        for name, channels in keep.items():
            group = self[name]
            chosen = {int(c) for c in channels}
            if not chosen or len(chosen) != len(channels):
                raise PruningError(
                    f"pruning group '{name}'",
                    f"expected one or more different channels, received {list(channels)[:8]}",
                )
            if not chosen <= set(range(group.width)):
                wrong = min(chosen - set(range(group.width)))
                raise PruningError(
                    f"pruning group '{name}'",
                    f"expected channels 0 to {group.width - 1}, received {wrong}",
                )
            for channel, ids in enumerate(group.members):
                kept[list(ids)] = channel in chosen
        return kept

    def places(self, name: str) -> dict[str, tuple[tuple[int, ...], ...]]:
        """Return by layer, for each channel of a group, which of the layer's own channels it is.

        Where a grouped convolution loses whole groups, one channel is several of a layer.

        Raises:
            PruningError: If there is no such group.
        """
        group = self[name]
        firsts = {owner: i for i, owner in reversed(list(enumerate(self.owners)))}
        return {
            layer: tuple(
                tuple(i - firsts[layer] for i in ids if self.owners[i] == layer)
                for ids in group.members
            )
            for layer in group.layers
        }

    def macs(self, keep: Keep) -> int:
        """Return the multiply-accumulates of one inference of the pruned model.

        Convolutions and dense layers are counted, as `optimizer.cut.count` counts them.

        Raises:
            PruningError: If `keep` is wrong, or the model's input has open sizes.
        """
        kept = self.kept(keep)
        return sum(work_macs(work, kept) for work in self.work)


def find_groups(model: keras.Model) -> ChannelGroups:
    """Return what of a model can be pruned, and name what cannot.

    Channels are followed from layer to layer. What any layer without a rule touches is frozen, so
    that a model with unknown parts is pruned in the rest.

    Raises:
        PruningError: If the model is neither functional nor sequential.
    """
    tracer = trace_model(model)
    roots = tracer.channels.roots()
    reasons = _reasons(tracer, roots)
    groups, narrow = _groups(tracer, roots, set(reasons))
    frozen = [*_frozen(tracer, roots, reasons), *narrow]
    return ChannelGroups(
        tuple(groups),
        tuple(frozen),
        tuple(tracer.layers.values()),
        tuple(tracer.work),
        tuple(tracer.channels.owners),
    )


def work_macs(work: Work, kept: Kept) -> int:
    """Return the multiply-accumulates of one call after pruning.

    Raises:
        PruningError: If the size of its input is open.
    """
    if work.factor is None:
        raise PruningError(f"layer '{work.path}'", "its input has open sizes, so it has no cost")
    counts = (
        side if isinstance(side, int) else int(kept[side].sum())
        for side in (work.inputs, work.outputs)
    )
    inputs, outputs = counts
    return work.factor * inputs * outputs


def _reasons(tracer: Tracer, roots: Ids) -> dict[int, str]:
    reasons: dict[int, str] = {}
    for i, reason in sorted(tracer.channels.reasons.items()):
        reasons.setdefault(int(roots[i]), reason)
    return reasons


def _groups(
    tracer: Tracer, roots: Ids, frozen: set[int]
) -> tuple[list[PruningGroup], list[FrozenChannels]]:
    """Return groups of channels that the same layers make, and those of one channel."""
    members: dict[int, list[int]] = defaultdict(list)
    for i, root in enumerate(roots.tolist()):
        if root not in frozen:
            members[root].append(i)
    by_makers: dict[tuple[str, ...], list[tuple[int, ...]]] = defaultdict(list)
    for ids in members.values():
        by_makers[tuple(dict.fromkeys(tracer.channels.owners[i] for i in ids))].append(tuple(ids))
    # An order that does not change as channels go, so that names do not either.
    places = {owner: i for i, owner in enumerate(dict.fromkeys(tracer.channels.owners))}
    groups: list[PruningGroup] = []
    narrow: list[FrozenChannels] = []
    names: dict[str, int] = defaultdict(int)
    for makers in sorted(by_makers, key=lambda makers: [places[m] for m in makers]):
        rows = by_makers[makers]
        names[makers[0]] += 1
        suffix = f"#{names[makers[0]]}" if names[makers[0]] > 1 else ""
        if len(rows) > 1:
            groups.append(PruningGroup(makers[0] + suffix, makers, tuple(rows)))
        else:
            narrow.extend(FrozenChannels(m, len(rows[0]), "its only channel") for m in makers)
    return groups, narrow


def _frozen(tracer: Tracer, roots: Ids, reasons: dict[int, str]) -> list[FrozenChannels]:
    counts: dict[tuple[str, str], int] = defaultdict(int)
    for owner, root in zip(tracer.channels.owners, roots.tolist(), strict=True):
        if owner and root in reasons:
            counts[owner, reasons[root]] += 1
    return [FrozenChannels(owner, n, reason) for (owner, reason), n in counts.items()]
