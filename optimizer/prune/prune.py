"""Pruning: a smaller model that computes the same as the original without some channels."""

from dataclasses import dataclass

import keras
import numpy as np

from headtail.errors import PruningError
from optimizer.prune.groups import ChannelGroups, FrozenChannels, Keep, Kept, find_groups
from optimizer.prune.model_copy import ModelCopy, attribute_names, sliced, zeroed


@dataclass(frozen=True, slots=True)
class Pruned:
    """A pruned model and what was done to it."""

    model: keras.Model
    """Not compiled; it shares nothing with the original."""
    keep: dict[str, tuple[int, ...]]
    """Channels that stayed, in order, by the group's name in the original; every group."""
    frozen: tuple[FrozenChannels, ...]
    """What could not be pruned, layer by layer, and why."""


def prune(model: keras.Model, keep: Keep, groups: ChannelGroups | None = None) -> Pruned:
    """Return the model without the channels that are not kept.

    In inference it computes what the original does with the weights that read a dropped channel
    set to zero (`silenced`). Layers keep their names, weights their values.

    Args:
        model: A built functional or sequential model; it is left as it is.
        keep: Channels that stay, by pruning group; at least one each.
        groups: `find_groups(model)`, if it is at hand.

    Raises:
        PruningError: If `keep` does not fit the model, or a layer cannot be copied.
    """
    groups = groups or find_groups(model)
    kept = groups.kept(keep)
    result = _copied(model, groups, kept, is_small=True)
    everything = {g.name: tuple(range(g.width)) for g in groups.groups}
    stayed = everything | {name: tuple(sorted(map(int, c))) for name, c in keep.items()}
    return Pruned(result, stayed, groups.frozen)


def silenced(model: keras.Model, keep: Keep, groups: ChannelGroups | None = None) -> keras.Model:
    """Return a copy of full width in which the weights that read a dropped channel are zero.

    It computes what `prune` gives, at the cost of the original.

    Raises:
        PruningError: As `prune`.
    """
    groups = groups or find_groups(model)
    return _copied(model, groups, groups.kept(keep), is_small=False)


def _copied(model: keras.Model, groups: ChannelGroups, kept: Kept, is_small: bool) -> keras.Model:
    records = {id(part.operation): part for part in groups.parts}
    widths = kept if is_small else np.ones_like(kept)
    copy = ModelCopy(records, widths)
    result = copy.copy(model)
    change = sliced if is_small else zeroed
    for old, new in copy.layers:
        record = records.get(id(old))
        names = attribute_names(old, record)
        if len(old.variables) != len(new.variables):
            raise PruningError(
                f"layer '{old.name}'",
                f"expected {len(old.variables)} variables in its copy, received"
                f" {len(new.variables)}",
            )
        for source, target in zip(old.variables, new.variables, strict=True):
            value = np.asarray(source)
            if id(source) in names:
                value = change(record, names[id(source)], value, kept)
            if tuple(target.shape) != value.shape:
                raise PruningError(
                    f"variable '{target.path}'",
                    f"expected shape {value.shape}, received {tuple(target.shape)}",
                )
            target.assign(value)
    return result
