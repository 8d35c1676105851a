"""Group lasso: a penalty that drives whole filters to zero while a model trains."""

from typing import Any

import keras

from optimizer.prune.groups import ChannelGroups


@keras.saving.register_keras_serializable("headtail")
class GroupLasso(keras.regularizers.Regularizer):
    """Penalty strength x sum over filters of sqrt(weights in it) x its Euclidean norm.

    Source: Yuan and Lin, Model Selection and Estimation in Regression with Grouped Variables, 2006,
    eq. 2; for filters Wen et al., arXiv:1608.03665, eq. 3.
    """

    def __init__(self, strength: float, axis: int = -1) -> None:
        self.strength, self.axis = float(strength), int(axis)

    def __call__(self, weight: Any) -> Any:
        """Return the penalty of one weight, a scalar."""
        rank = len(weight.shape)
        axes = [i for i in range(rank) if i != self.axis % rank]
        size = 1
        for i in axes:
            size *= int(weight.shape[i])
        squares = keras.ops.sum(keras.ops.square(weight), axis=axes)
        # The root has no gradient at zero; 1e-12 is far below any trained filter's square.
        norms = keras.ops.sqrt(squares + 1e-12)
        return self.strength * size**0.5 * keras.ops.sum(norms)

    def get_config(self) -> dict[str, Any]:
        """Return what it takes to make it again."""
        return {"strength": self.strength, "axis": self.axis}


def add_group_lasso(groups: ChannelGroups, strength: float) -> tuple[str, ...]:
    """Let the kernels that make prunable channels be penalised while their model trains.

    It acts on the model that the groups were found in, and replaces other penalties on these
    kernels; `remove_group_lasso` ends it. Compile the model afterwards.

    Returns:
        The variables it was put on.
    """
    makers = {layer for g in groups.groups for layer in g.layers}
    named = []
    for kernel in groups.kernels():
        if kernel.path in makers:
            kernel.variable.regularizer = GroupLasso(strength, kernel.axis)
            named.append(str(kernel.variable.path))
    return tuple(named)


def remove_group_lasso(groups: ChannelGroups) -> None:
    """Take the penalty off all kernels again."""
    for kernel in groups.kernels():
        if isinstance(kernel.variable.regularizer, GroupLasso):
            kernel.variable.regularizer = None
