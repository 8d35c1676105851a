"""What training costs under a freeze mask, in floating-point operations.

A layer costs what its own backward pass costs; a mask costs more than the sum of its layers, since
the gradient has to pass through every layer, frozen or not, that comes after a trained one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from optimizer.freeze.calls import Calls
from optimizer.freeze.config import OptimizerName
from optimizer.freeze.frontier import Trait, is_fixed
from optimizer.freeze.layers import FreezableLayer
from optimizer.freeze.macs import LayerMacs, layer_macs
from optimizer.freeze.mask import FreezeMask

# Operations for one parameter and step. SGD: times rate, subtract. Momentum: times momentum, times
# rate, subtract, add. Adam: 3 for the mean, 4 for the squares (Kingma and Ba, arXiv:1412.6980,
# algorithm 1), then root, plus epsilon, divide, times rate, subtract.
UPDATE_FLOPS: dict[OptimizerName, int] = {"sgd": 2, "momentum": 4, "adam": 12}


@dataclass(frozen=True, slots=True)
class CallCost:
    """One call of a layer with weights."""

    place: int
    """Of the layer in the mask."""
    macs: LayerMacs
    trait: Trait


@dataclass(frozen=True, slots=True)
class LayerCost:
    """What training one layer costs by itself, in floating-point operations."""

    weight_flops: int
    """Gradient of its weights, for one window: two for each multiply-accumulate."""
    input_flops: int
    """Gradient of its input, for one window; needed as long as an earlier layer is trained."""
    update_flops: int
    """Optimiser update, for one step."""
    is_exact: bool
    """Whether the kind of the layer is known; else every weight counts once per position."""

    def flops(self, batch: int) -> float:
        """Return all of it for one window, the update shared by a batch."""
        return self.weight_flops + self.input_flops + self.update_flops / batch


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long a training is."""

    batch: int
    """Windows of one step."""
    epochs: int
    """Passes over the windows."""
    prefix_passes: int
    """Passes that compute the frozen prefix; those after find it cached."""


@dataclass(frozen=True, slots=True)
class TrainingCosts:
    """What every layer of a network, and every mask over them, costs to train."""

    parameters: tuple[int, ...]
    """Of each layer, those that an optimiser changes."""
    calls: tuple[CallCost, ...]
    optimizer: OptimizerName = "adam"

    @property
    def layers(self) -> tuple[LayerCost, ...]:
        """The cost of each layer by itself."""
        total = [LayerMacs(0, 0)] * len(self.parameters)
        for call in self.calls:
            total[call.place] = total[call.place] + call.macs
        return tuple(
            LayerCost(
                2 * (macs.weight + macs.within),
                2 * macs.input,
                UPDATE_FLOPS[self.optimizer] * parameters,
                macs.is_exact,
            )
            for macs, parameters in zip(total, self.parameters, strict=True)
        )

    def layer_shares(self, batch: int) -> tuple[float, ...]:
        """Return the cost of each layer by itself as a share of their sum: Algorithm 1's c."""
        flops = [layer.flops(batch) for layer in self.layers]
        return tuple(value / sum(flops) for value in flops)

    def backward_flops(self, mask: FreezeMask, batch: int) -> float:
        """Return the operations for one window of backward pass and update.

        Sums over the calls: 2 weight where the layer is trained, 2 input where an earlier layer is,
        2 within where either is; then the update of the trained parameters, shared by a batch.
        """
        macs = 0
        for call in self.calls:
            is_trained = mask[call.place]
            is_passed = any(mask[place] for place in call.trait.before)
            macs += is_trained * call.macs.weight + is_passed * call.macs.input
            macs += (is_trained or is_passed) * call.macs.within
        changed = sum(n for n, is_trained in zip(self.parameters, mask, strict=True) if is_trained)
        return 2 * macs + UPDATE_FLOPS[self.optimizer] * changed / batch

    def forward_flops(self) -> float:
        """Return the operations for one window of the whole forward pass."""
        return 2.0 * sum(call.macs.forward for call in self.calls)

    def prefix_flops(self, mask: FreezeMask) -> float:
        """Return the operations for one window of what gives the same in every pass."""
        fixed = (call.macs.forward for call in self.calls if is_fixed(call.trait, mask))
        return 2.0 * sum(fixed)

    def training_flops(self, mask: FreezeMask, schedule: Schedule) -> float:
        """Return the operations for one window of a whole training; 0 where nothing is trained.

        Forward and backward in every pass, but for the prefix: forward in those that compute it.
        """
        if not any(mask):
            return 0.0
        prefix = self.prefix_flops(mask)
        each = self.forward_flops() - prefix + self.backward_flops(mask, schedule.batch)
        return schedule.prefix_passes * prefix + schedule.epochs * each

    def training_share(self, mask: FreezeMask, schedule: Schedule) -> float:
        """Return what a training costs as a share of one of every layer."""
        whole = self.training_flops((True,) * len(mask), schedule)
        return self.training_flops(mask, schedule) / whole


def training_costs(
    calls: Calls,
    layers: Sequence[FreezableLayer],
    traits: Sequence[Trait],
    optimizer: OptimizerName = "adam",
) -> TrainingCosts:
    """Return what a network's layers cost to train.

    Raises:
        ConfigError: If the model leaves an axis of a tensor open besides the first.
    """
    costs = []
    for call, trait in zip(calls.calls, traits, strict=True):
        if trait.place is not None:
            taken, made = calls.window_shape(call.reads[0]), calls.window_shape(call.makes[0])
            macs = layer_macs(call.operation, taken, made)
            costs.append(CallCost(trait.place, macs, trait))
    return TrainingCosts(tuple(layer.parameters for layer in layers), tuple(costs), optimizer)
