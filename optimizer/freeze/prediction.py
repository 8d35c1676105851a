"""What a training under a mask will take: operations, seconds, energy."""

from dataclasses import dataclass

import msgspec
import numpy as np

from headtail.errors import ConfigError
from optimizer.freeze.config import FreezeConfig
from optimizer.freeze.costs import Schedule, TrainingCosts
from optimizer.freeze.mask import FreezeMask
from optimizer.freeze.training import FreezeLessons, FrozenTrainer

MEASURED_STEPS = 16


@dataclass(frozen=True, slots=True)
class TrainingPrediction:
    """Predicts trainings of one network on one machine: every operation takes the same time.

    Source of energy as power times time: ToSiM-IoT, eq. 15.
    """

    costs: TrainingCosts
    schedule: Schedule
    windows: int
    """Training windows of one pass."""
    flops_per_s: float
    load_w: float

    def flops(self, mask: FreezeMask) -> float:
        """Return the operations of the whole training."""
        return self.windows * self.costs.training_flops(mask, self.schedule)

    def share(self, mask: FreezeMask) -> float:
        """Return its cost as a share of training every layer."""
        return self.costs.training_share(mask, self.schedule)

    def seconds(self, mask: FreezeMask) -> float:
        """Return how long it takes."""
        return self.flops(mask) / self.flops_per_s

    def energy_j(self, mask: FreezeMask) -> float:
        """Return what it takes, P_load x time."""
        return self.load_w * self.seconds(mask)

    def layer_costs(self, cost: str) -> tuple[float, ...]:
        """Return the cost of each layer by itself: shares of their sum, or joules."""
        shares = self.costs.layer_shares(self.schedule.batch)
        if cost == "share":
            return shares
        each = (layer.flops(self.schedule.batch) for layer in self.costs.layers)
        total = self.windows * self.schedule.epochs * sum(each)
        return tuple(self.load_w * total / self.flops_per_s * share for share in shares)


def predict_training(
    costs: TrainingCosts, config: FreezeConfig, windows: int, flops_per_s: float, *, augments: bool
) -> TrainingPrediction:
    """Return what predicts the trainings of a recipe.

    Args:
        costs: Of the network.
        config: How it is trained, and the power.
        windows: Training windows of one pass.
        flops_per_s: Operations that the machine does in a second of training.
        augments: Whether the windows are augmented, so that each copy has a prefix of its own.

    Raises:
        ConfigError: If the speed is not above 0.
    """
    if not flops_per_s > 0:
        raise ConfigError(
            "freeze.energy.flops_per_s", f"expected more than 0, received {flops_per_s:g}"
        )
    train = config.train
    copies = train.copies if augments else 1
    is_cached = copies > 0 and train.cache_mib > 0
    passes = min(copies, train.epochs) if is_cached else train.epochs
    schedule = Schedule(train.batch, train.epochs, passes)
    return TrainingPrediction(costs, schedule, windows, flops_per_s, config.energy.load_w)


def measure_speed(trainer: FrozenTrainer) -> float:
    """Return the operations in a second of training every layer, on some steps of the recipe's.

    The first of two passes, which builds the graph, does not count.
    """
    config = msgspec.structs.replace(trainer.config, epochs=2, copies=1, cache_mib=0)
    count = min(len(trainer.lessons.training.y), MEASURED_STEPS * config.batch)
    few = trainer.lessons.training.take(np.arange(count))
    lessons = FreezeLessons(few, trainer.lessons.validation.take(np.arange(1)))
    mask = (True,) * len(trainer.network.layers)
    done = FrozenTrainer(trainer.network, lessons, config, trainer.seed).train(mask)
    batch = min(config.batch, count)
    costs = trainer.network.costs
    each = costs.forward_flops() + costs.backward_flops(mask, batch)
    return each * (count // batch * batch) / max(done.passes[-1].seconds, 1e-6)
