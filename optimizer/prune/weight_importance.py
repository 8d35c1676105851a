"""Importance of channels read off the weights: norms, BatchNorm's scales, chance."""

import numpy as np

from optimizer.prune.groups import ChannelGroups
from optimizer.prune.scores import FloatArray, Scores, group_scores


def l1_importance(groups: ChannelGroups) -> Scores:
    """Return the sum of the absolute weights that make each channel.

    Biases do not count. Where several layers make it, their sums are added.

    Source: Li et al., Pruning Filters for Efficient ConvNets, arXiv:1608.08710, section 3.1.
    """
    return group_scores(groups, _kernel_sums(groups, 1), "l1")


def l2_importance(groups: ChannelGroups) -> Scores:
    """Return the Euclidean norm of the weights that make each channel, in all layers together.

    Source: He et al., Soft Filter Pruning, arXiv:1808.06866, eq. 2 (p = 2).
    """
    return group_scores(groups, _kernel_sums(groups, 2), "l2", is_root=True)


def gamma_importance(groups: ChannelGroups) -> Scores:
    """Return the absolute scale that batch normalisation gives each channel, summed over layers.

    Groups that no batch normalisation with a scale follows are unscored.

    Source: Liu et al., Learning Efficient Convolutional Networks through Network Slimming,
    arXiv:1708.06519, section 3.
    """
    by_id = np.full(len(groups.owners), np.nan)
    for part in groups.parts:
        ids = part.weights.get(("gamma", 0))
        if ids is not None and type(part.operation).__name__ == "BatchNormalization":
            gamma = np.abs(np.asarray(part.operation.gamma, np.float64))
            by_id[ids] = np.nan_to_num(by_id[ids])
            np.add.at(by_id, ids, gamma)
    return group_scores(groups, by_id, "gamma")


def random_importance(groups: ChannelGroups, rng: np.random.Generator) -> Scores:
    """Return a uniform random number for each channel of a group."""
    return Scores("random", {g.name: rng.random(g.width) for g in groups.groups}, True)


def _kernel_sums(groups: ChannelGroups, power: int) -> FloatArray:
    """Return the sum of |weight|^power over the kernels that make each id, shape (ids,)."""
    by_id = np.zeros(len(groups.owners))
    for kernel in groups.kernels():
        value = np.asarray(kernel.variable, np.float64)
        others = tuple(i for i in range(value.ndim) if i != kernel.axis % value.ndim)
        np.add.at(by_id, kernel.ids, (np.abs(value) ** power).sum(axis=others))
    return by_id
