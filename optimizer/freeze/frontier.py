"""Where the frozen prefix of a network ends: what gives the same in every pass is computed once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras

from optimizer.freeze.calls import Call, Calls
from optimizer.freeze.layers import FreezableLayer
from optimizer.freeze.mask import FreezeMask


@dataclass(frozen=True, slots=True)
class Trait:
    """What decides whether a call's outcome may be kept."""

    place: int | None
    """In the mask, of the layer that is called; None where it has no weights to train."""
    before: frozenset[int]
    """Places of the layers on the way from the inputs to this call, its own left out."""
    is_repeatable: bool
    """Whether it gives the same in every pass while no layer of `before` or itself is trained."""


@dataclass(frozen=True, slots=True, eq=False)
class Frontier:
    """A network cut between what is computed once and what is computed in every pass."""

    prefix: tuple[Call, ...]
    """Computed once."""
    rest: tuple[Call, ...]
    """Computed in every pass."""
    tensors: tuple[int, ...]
    """Tensors that the rest, or the model's outputs, need of the prefix and the inputs."""
    window_bytes: int
    """Of those tensors for one window, inputs left out: those are there anyway."""


def call_traits(calls: Calls, layers: Sequence[FreezableLayer]) -> tuple[Trait, ...]:
    """Return the trait of every call."""
    place_of = {id(freezable.layer): i for i, freezable in enumerate(layers)}
    before: dict[int, frozenset[int]] = dict.fromkeys(calls.inputs, frozenset())
    repeatable = dict.fromkeys(calls.inputs, True)
    traits = []
    for call in calls.calls:
        place = place_of.get(id(call.operation))
        gathered = frozenset[int]().union(*(before[i] for i in call.reads))
        is_repeatable = all(repeatable[i] for i in call.reads) and _is_repeatable(call, calls)
        traits.append(Trait(place, gathered, is_repeatable))
        after = gathered if place is None else gathered | {place}
        before.update(dict.fromkeys(call.makes, after))
        repeatable.update(dict.fromkeys(call.makes, is_repeatable))
    return tuple(traits)


def is_fixed(trait: Trait, mask: FreezeMask) -> bool:
    """Return whether a call gives the same in every pass of a training under the mask."""
    touched = trait.before if trait.place is None else trait.before | {trait.place}
    return trait.is_repeatable and not any(mask[place] for place in touched)


def find_frontier(
    calls: Calls, traits: Sequence[Trait], mask: FreezeMask, most_bytes: float = float("inf")
) -> Frontier:
    """Return the deepest frontier whose tensors take at most so many bytes for one window.

    Args:
        calls: The network.
        traits: Of its calls.
        mask: Which layers are trained.
        most_bytes: Bound on `Frontier.window_bytes`; 0 leaves nothing to keep.
    """
    fixed = [i for i, trait in enumerate(traits) if is_fixed(trait, mask)]
    # To keep what costs nothing to compute is not worth its room.
    least = next((n for n, i in enumerate(fixed) if traits[i].place is not None), len(fixed))
    for count in range(len(fixed), least, -1):
        frontier = _cut(calls, frozenset(fixed[:count]))
        if frontier.window_bytes <= most_bytes:
            return frontier
    return _cut(calls, frozenset())


def _cut(calls: Calls, kept: frozenset[int]) -> Frontier:
    rest = tuple(call for i, call in enumerate(calls.calls) if i not in kept)
    made = {index for call in rest for index in call.makes}
    needed = {i for call in rest for i in call.reads} | set(calls.outputs)
    tensors = tuple(sorted(needed - made))
    prefix: list[Call] = []
    wanted = set(tensors)
    for i in sorted(kept, reverse=True):  # what no tensor of the frontier needs is left out
        call = calls.calls[i]
        if not wanted.isdisjoint(call.makes):
            prefix.append(call)
            wanted.update(call.reads)
    size = sum(_bytes(calls, index) for index in tensors if index not in calls.inputs)
    return Frontier(tuple(reversed(prefix)), rest, tensors, size)


def _bytes(calls: Calls, index: int) -> int:
    width = keras.backend.standardize_dtype(calls.tensors[index].dtype)
    return calls.values(index) * (2 if "16" in width else 8 if "64" in width else 4)


def _is_repeatable(call: Call, calls: Calls) -> bool:
    """Return whether a call, given the same tensors and weights, gives the same in every pass.

    Left out are layers that draw (Dropout, noise, random augmentation), that carry a state from
    batch to batch, that change themselves while frozen (SpectralNormalization), that are not
    Keras' own and ask whether they are trained, and tensors with a mask, which arrays do not carry.
    """
    layer = call.operation
    if any(getattr(calls.tensors[i], "_keras_mask", None) is not None for i in call.makes):
        return False
    if not isinstance(layer, keras.layers.Layer):
        return True
    return all(_is_steady(part) for part in layer._flatten_layers())


def _is_steady(layer: Any) -> bool:
    is_own = type(layer).__module__.startswith("keras.")
    return (
        not layer._seed_generators
        and not getattr(layer, "stateful", False)
        and not isinstance(layer, keras.layers.SpectralNormalization)
        and (is_own or not layer._call_has_training_arg)
    )
