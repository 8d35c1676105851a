"""A Keras network made ready for freezing: its layers, what they cost, its weights as they came."""

from dataclasses import dataclass

import keras
import numpy as np

from headtail.tensor import Array
from optimizer.freeze.calls import Calls, flatten_calls
from optimizer.freeze.config import OptimizerName
from optimizer.freeze.costs import TrainingCosts, training_costs
from optimizer.freeze.frontier import Trait, call_traits
from optimizer.freeze.layers import FreezableLayer, freezable_layers


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """What every individual of a selection has in common."""

    calls: Calls
    layers: tuple[FreezableLayer, ...]
    traits: tuple[Trait, ...]
    costs: TrainingCosts
    state: tuple[Array, ...]
    """Every variable of the model as it came, the states of random draws included."""

    @property
    def model(self) -> keras.Model:
        """The model itself; trainings change it in place."""
        return self.calls.model

    def restore(self) -> None:
        """Give the model its variables back as they came."""
        for variable, value in zip(self.model.variables, self.state, strict=True):
            variable.assign(value)


def read_network(model: keras.Model, optimizer: OptimizerName = "adam") -> Network:
    """Return what freezing needs to know of a built Functional or Sequential model.

    Raises:
        ConfigError: If the model has no graph, no layers with weights, or an open axis besides the
            first.
    """
    calls = flatten_calls(model)
    layers = freezable_layers(calls)
    traits = call_traits(calls, layers)
    costs = training_costs(calls, layers, traits, optimizer)
    state = tuple(np.array(variable.numpy()) for variable in model.variables)
    return Network(calls, layers, traits, costs, state)
