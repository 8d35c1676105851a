"""What requests of one layout have in common, found once: their tail, its rules, their tensors."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from fog_server.batcher_policy import DynamicBatching
from fog_server.statistics import ModelRecord
from fog_server.tail import Tail
from fog_server.tally import Tally
from headtail.oip import InferWriter, Tensor
from headtail.tensor import Array, TensorSpec, check_finite, is_finite, little_endian
from headtail.wire import Affine, decode

View = tuple[str, tuple[int, ...], "np.dtype[np.generic]", TensorSpec | None, Affine | None, str]
"""One tensor's name, shape and type on the wire, what it is if not that, and its name in errors."""


@dataclass(frozen=True, slots=True, eq=False)
class Alike:
    """Requests that differ in their ids, contents, senders and deadlines alone."""

    tail: Tail
    writer: InferWriter
    """Writes the outputs they ask for."""
    rules: DynamicBatching
    level: int
    patience_s: float
    """How long one may wait by its queue's policy."""
    windows: int
    nbytes: int
    """Of the tensors of one request once they are decoded."""
    record: ModelRecord
    tally: Tally
    model: Hashable
    """What admission knows the tail by."""
    is_ripe: bool
    """Whether one that finds a slot free runs at once, and is answered when it has."""
    views: tuple[View, ...] = ()

    def decode(self, tensors: Sequence[Tensor]) -> dict[str, Array]:
        """Return the activation of a request like one that `Tail.decode` has found right.

        Args:
            tensors: As they travelled, in the order and of the sizes of that one's.

        Raises:
            NotFinite: If a tensor holds NaN or infinity.
        """
        activation = {}
        for tensor, (name, shape, dtype, real, affine, where) in zip(
            tensors, self.views, strict=True
        ):
            array: Array = np.ndarray(shape, dtype, tensor.content)
            if not array.flags.aligned:  # as `aligned` has it
                array = array.copy()
            if dtype.kind == "f" and not is_finite(array):
                check_finite(array, where)
            activation[name] = array if real is None else decode(array, real, affine)
        return activation


def views(tail: Tail, tensors: Sequence[Tensor]) -> tuple[View, ...]:
    """Return how a request's tensors, which fit the tail, are viewed; nothing if out of order."""
    if [tensor.name for tensor in tensors] != [spec.name for spec in tail.inputs]:
        return ()
    return tuple(
        (
            spec.name,
            tensor.shape,
            little_endian(spec.dtype),
            None if real == spec else real,
            tail.affine.get(spec.name),
            tail.where(spec),
        )
        for spec, real, tensor in zip(tail.inputs, tail.activation, tensors, strict=True)
    )
