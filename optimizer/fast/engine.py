"""The compiled network as a training sees it."""

import numpy as np

from headtail.tensor import Array
from headtail.wire import STORED_RANGES
from optimizer.fake_wire import FakeWire
from optimizer.fast import kernels
from optimizer.fast.layout import lay_out
from optimizer.fast.run import NO_WIRE, Wire, run_layers
from optimizer.fast.weights import Weights, pack, unpack
from optimizer.network import Genome


class FastEngine:
    """A network of the family with its weights and Adam's moments; satisfies `training.Engine`."""

    def __init__(self, genome: Genome, weights: Weights) -> None:
        """Take a network with its first weights, in Keras' shapes."""
        self.classes = genome.classes
        self._layout = lay_out(genome)
        self._state = np.zeros((3, self._layout.parameters), np.float32)
        self._state[0] = pack(self._layout, weights)
        self._steps = 0

    def run_pass(
        self,
        windows: Array,
        targets: Array,
        weights: Array,
        order: Array,
        rates: Array,
        wire: FakeWire | None,
    ) -> float:
        """Train for one pass; return the mean of the steps' losses."""
        loss: float = kernels.train_pass(
            self._layout.table,
            self._state,
            np.ascontiguousarray(windows, np.float32).reshape(len(windows), -1),
            targets,
            weights,
            order,
            rates,
            self._steps,
            self._layout.maps,
            *_numbers(wire),
        )
        self._steps += len(order)
        return loss

    def logits(self, x: Array, wire: FakeWire | None = None) -> Array:
        """Return what goes into the softmax, float32, shape (N, classes)."""
        last = len(self._layout.layers)
        return run_layers(self._layout, self._state[0], x, last, _numbers(wire))

    def activations(self, x: Array, point: int) -> Array:
        """Return what leaves the first `point` layers with weights, float32, shape (N, values)."""
        return run_layers(self._layout, self._state[0], x, point)

    def get_weights(self) -> Weights:
        """Return the weights in Keras' shapes."""
        return unpack(self._layout, self._state[0])

    def set_weights(self, weights: Weights) -> None:
        """Replace all weights; Adam's moments stay."""
        self._state[0] = pack(self._layout, weights)


def _numbers(wire: FakeWire | None) -> Wire:
    if wire is None:
        return NO_WIRE
    affine, stored = wire.affine, STORED_RANGES[wire.encoding]
    return wire.point, np.array([affine.scale, affine.zero_point, *stored], np.float32)
