"""How different the channels are that stay."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from headtail.errors import PruningError
from optimizer.prune.groups import ChannelGroups, Keep, PruningGroup
from optimizer.prune.scores import FloatArray


@dataclass(frozen=True, slots=True)
class Diversity:
    """The bound D_min, and what it is measured on.

    The diversity of channels is the Vendi score of the weights that make them: the exponential of
    the entropy of the eigenvalues of K / n, with K_ij the squared cosine between channels i and j.
    It is n for n channels of unrelated weights and 1 for n copies of one. What is bounded is the
    diversity of the kept channels of each group relative to all of it.

    Source: ToSiM-IoT, eq. 14 (a bound, left undefined there); Friedman and Dieng, The Vendi Score,
    arXiv:2210.02410, definition 3.1.
    """

    minimum: float
    """D_min, 0 to 1."""
    weights: Mapping[str, FloatArray]
    """By group: unit vectors, shape (width, weights)."""
    _whole: dict[str, float] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check the range."""
        if not 0 <= self.minimum <= 1:
            raise PruningError("D_min", f"expected 0 to 1, received {self.minimum}")

    def of(self, group: PruningGroup, channels: Sequence[int]) -> float:
        """Return the relative diversity of some channels of a group."""
        rows, whole = self.weights[group.name], self._of_all(group.name)
        chosen = rows[list(channels)]
        return vendi_score((chosen @ chosen.T) ** 2) / whole

    def completed(self, group: PruningGroup, channels: Sequence[int]) -> list[int]:
        """Return the channels and as many others as it takes to reach the bound.

        The one that is least like any kept one comes first.
        """
        chosen = list(channels)
        if self.of(group, chosen) >= self.minimum:
            return chosen
        order = self._farthest_first(group, chosen)
        low, high = 0, len(order)  # `low` more are too few, `high` more are enough
        while high - low > 1:
            middle = (low + high) // 2
            if self.of(group, [*chosen, *order[:middle]]) >= self.minimum:
                high = middle
            else:
                low = middle
        return [*chosen, *order[:high]]

    def after(self, keep: Keep) -> "Diversity":
        """Return the same bound for what a pruning left, still relative to all there was.

        Args:
            keep: Channels that are left, by group; a group that is not named is whole.
        """
        whole = {name: self._of_all(name) for name in self.weights}
        left = {
            name: rows[list(keep.get(name, range(len(rows))))]
            for name, rows in self.weights.items()
        }
        return Diversity(self.minimum, left, whole)

    def _of_all(self, name: str) -> float:
        if name not in self._whole:
            rows = self.weights[name]
            self._whole[name] = vendi_score((rows @ rows.T) ** 2)
        return self._whole[name]

    def _farthest_first(self, group: PruningGroup, chosen: Sequence[int]) -> list[int]:
        rows = self.weights[group.name]
        similarity = (rows @ rows.T) ** 2
        nearest = similarity[:, list(chosen)].max(axis=1)
        nearest[list(chosen)] = np.inf
        order = []
        for _ in range(len(rows) - len(chosen)):
            best = int(np.argmin(nearest))
            order.append(best)
            nearest = np.maximum(nearest, similarity[best])
            nearest[best] = np.inf
        return order


def vendi_score(similarity: FloatArray) -> float:
    """Return the effective number of different items.

    Args:
        similarity: Positive semi-definite, ones on the diagonal, shape (n, n).
    """
    values = np.linalg.eigvalsh(similarity / len(similarity))
    values = values[values > 1e-12]
    values = values / values.sum()
    return float(np.exp(-(values * np.log(values)).sum()))


def channel_diversity(groups: ChannelGroups, minimum: float) -> Diversity:
    """Return the bound D_min on the weights of a model as they are now.

    Args:
        groups: The model's.
        minimum: Smallest diversity of a group's kept channels relative to all of them, 0 to 1.

    Raises:
        PruningError: If the minimum is out of range.
    """
    columns: dict[int, list[FloatArray]] = {}
    for kernel in groups.kernels():
        value = np.asarray(kernel.variable, np.float64)
        rows = np.moveaxis(value, kernel.axis, 0).reshape(len(kernel.ids), -1)
        for i, row in zip(kernel.ids.tolist(), rows, strict=True):
            columns.setdefault(i, []).append(row)
    weights = {}
    for group in groups.groups:
        makers = [
            np.concatenate([r for i in ids for r in columns.get(i, ())] or [np.zeros(1)])
            for ids in group.members
        ]
        longest = max(len(m) for m in makers)
        table = np.array([np.pad(m, (0, longest - len(m))) for m in makers])
        norms = np.linalg.norm(table, axis=1, keepdims=True)
        weights[group.name] = table / np.where(norms > 0, norms, 1)
    return Diversity(minimum, weights)
