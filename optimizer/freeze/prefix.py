"""Activations of frozen prefixes: computed once, shared by all passes and all individuals."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from headtail.tensor import Array
from optimizer.freeze.calls import Call, Calls, run_calls
from optimizer.freeze.frontier import Frontier
from optimizer.images.evaluate import as_pixels


class CallsLayer(keras.layers.Layer):
    """Some of a model's calls as a layer: takes a list of tensors, returns a list.

    As the outermost layer it tells those inside whether they are in training, as the model does,
    and gathers their losses.
    """

    def __init__(self, calls: Sequence[Call], taken: Sequence[int], made: Sequence[int]) -> None:
        super().__init__(autocast=False)
        self.program = tuple(calls)
        self.taken, self.made = tuple(taken), tuple(made)
        layers = {id(c.operation): c.operation for c in calls}
        self.parts = [part for part in layers.values() if isinstance(part, keras.layers.Layer)]
        self.built = True

    def call(self, tensors: list[Any], training: bool | None = None) -> list[Any]:
        """Make the calls."""
        known = dict(zip(self.taken, tensors, strict=True))
        return run_calls(self.program, known, training, self.made)


def as_tensor(array: Array) -> Any:
    """Return an array as a network takes it: images of bytes become float32 in [0, 1]."""
    tensor = tf.constant(array)
    return as_pixels(tensor) if array.dtype == np.uint8 else tensor


def run_batches(layer: CallsLayer, arrays: Sequence[Array], batch: int) -> list[Array]:
    """Return what a layer makes of arrays in inference, batch by batch.

    Args:
        layer: What to run.
        arrays: One for each tensor that it takes, windows first.
        batch: Windows at a time; the last ones are filled up, so that one graph does for all.
    """
    run = tf.function(lambda tensors: layer(tensors, training=False), autograph=False)
    count = len(arrays[0])
    results: list[Array] = []
    for start in range(0, count, batch):
        chosen = np.minimum(np.arange(start, start + batch), count - 1)
        made = [np.asarray(t) for t in run([as_tensor(a[chosen]) for a in arrays])]
        if not results:
            results = [np.empty((count, *t.shape[1:]), t.dtype) for t in made]
        for result, tensor in zip(results, made, strict=True):
            result[start : start + batch] = tensor[: count - start]
    return results


class PrefixCache:
    """Keeps the tensors at the frontiers of one network for the windows of one selection.

    A frozen prefix has the weights that the network came with, so its activations depend on the
    frontier and the windows alone, and individuals with the same frontier share them. The least
    lately used ones make room.
    """

    def __init__(self, most_bytes: int, batch: int = 32) -> None:
        """Take the room there is, and how many windows are computed at a time."""
        self.most_bytes = most_bytes
        self._batch = batch
        self._kept: OrderedDict[tuple[str, tuple[int, ...]], list[Array]] = OrderedDict()

    def tensors(
        self, calls: Calls, frontier: Frontier, name: str, windows: Callable[[], Array]
    ) -> list[Array]:
        """Return the frontier's tensors for some windows, in the order of `Frontier.tensors`.

        Args:
            calls: The network, its prefix with the weights that it came with.
            frontier: Where it is cut.
            name: Of the windows, the same for the same windows.
            windows: Makes the windows, shape (N, ...), where they are needed.
        """
        key = name, frontier.tensors
        made = [index for index in frontier.tensors if index not in calls.inputs]
        if key in self._kept:
            self._kept.move_to_end(key)
        elif made:
            layer, x = CallsLayer(frontier.prefix, calls.inputs, made), windows()
            self._make_room(frontier.window_bytes * len(x))
            self._kept[key] = run_batches(layer, [x], self._batch)
        kept = dict(zip(made, self._kept.get(key, []), strict=True))
        return [kept[index] if index in kept else windows() for index in frontier.tensors]

    def _make_room(self, wanted: int) -> None:
        while self._kept and self._bytes() + wanted > self.most_bytes:
            self._kept.popitem(last=False)

    def _bytes(self) -> int:
        return sum(array.nbytes for arrays in self._kept.values() for array in arrays)
