"""Importance of channels, as every criterion gives it."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from optimizer.prune.groups import ChannelGroups

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Scores:
    """One importance per channel of every pruning group that a criterion can judge."""

    criterion: str
    by_group: Mapping[str, FloatArray]
    """By the group's name, shape (width,), each >= 0; larger stays longer."""
    is_comparable: bool
    """Whether raw numbers of different groups may be compared; norms of weights may not."""
    unscored: tuple[str, ...] = ()
    """Groups that the criterion says nothing about; they stay whole."""

    def relative(self, scope: str) -> dict[str, FloatArray]:
        """Return importances between 0 and 1 that one threshold may be held against.

        Args:
            scope: "global": divided by the largest of all groups, after each group was divided by
                its own mean unless `is_comparable`. "layer": divided by the group's own largest.
                "uniform": the share of the group that is at most as important, so that one
                threshold takes the same share of every group.
        """
        scores = dict(self.by_group)
        if scope == "uniform":
            return {name: _ranks(row) for name, row in scores.items()}
        if scope == "layer":
            return {name: _divided(row, row.max()) for name, row in scores.items()}
        if not self.is_comparable:
            scores = {name: _divided(row, row.mean()) for name, row in scores.items()}
        largest = max((row.max() for row in scores.values()), default=0.0)
        return {name: _divided(row, largest) for name, row in scores.items()}


def group_scores(
    groups: ChannelGroups,
    by_id: FloatArray,
    criterion: str,
    is_comparable: bool = False,
    is_root: bool = False,
) -> Scores:
    """Return per channel of a group the sum over all that goes with it.

    Args:
        groups: The model's.
        by_id: Importance of every channel id, shape (ids,); NaN where there is none.
        criterion: Its name.
        is_comparable: As in `Scores`.
        is_root: Whether to take the root of the sum, where squares were summed.
    """
    scored: dict[str, FloatArray] = {}
    for group in groups.groups:
        sums = np.array([np.nansum(by_id[list(ids)]) for ids in group.members])
        has_all = all(np.isfinite(by_id[list(ids)]).any() for ids in group.members)
        if has_all:
            scored[group.name] = np.sqrt(sums) if is_root else sums
    unscored = tuple(g.name for g in groups.groups if g.name not in scored)
    return Scores(criterion, scored, is_comparable, unscored)


def _divided(row: FloatArray, by: float) -> FloatArray:
    return row / by if by > 0 else np.ones_like(row)


def _ranks(row: FloatArray) -> FloatArray:
    ranks = np.empty(len(row))
    ranks[np.argsort(row, kind="stable")] = np.arange(1, len(row) + 1)
    return ranks / len(row)
