"""Dominance, ranks and crowding of points whose objectives are all minimised.

Source of ranks and crowding: Deb et al., NSGA-II, doi:10.1109/4235.996017. PyGAD's own selection of
that name knows no constraints and no survival of parents, so only its tournament is used: on the
scalar made here.
"""

import numpy as np

from headtail.tensor import Array


def nondominated(points: Array) -> Array:
    """Return the indices of the points that no other dominates, ascending; of equal ones the first.

    Args:
        points: Objectives, shape (N, objectives).
    """
    if len(points) < 2:
        return np.arange(len(points))
    # A point can only be dominated by one that comes before it in this order.
    order = np.lexsort(points.T[::-1])
    kept = np.empty_like(points)
    chosen: list[int] = []
    for i in order:
        if not (kept[: len(chosen)] <= points[i]).all(axis=1).any():
            kept[len(chosen)] = points[i]
            chosen.append(int(i))
    return np.sort(np.asarray(chosen))


def ranks(points: Array) -> Array:
    """Return the front of each point, shape (N,): 0 for those that none dominates, and so on.

    Equal points are of the same front.
    """
    no_worse = np.asarray((points[:, None] <= points[None]).all(axis=2))
    dominates = no_worse & ~no_worse.T
    rank = np.full(len(points), -1)
    for front in range(len(points)):
        left = rank < 0
        if not left.any():
            break
        rank[left & ~dominates[left].any(axis=0)] = front
    return rank


def crowding(points: Array) -> Array:
    """Return the crowding distance of each point of one front, shape (N,); infinite at its ends."""
    distance = np.zeros(len(points))
    for values in points.T:
        order = np.argsort(values, kind="stable")
        width = values[order[-1]] - values[order[0]]
        if width > 0:
            distance[order[1:-1]] += (values[order[2:]] - values[order[:-2]]) / width
            distance[order[[0, -1]]] = np.inf
    return distance


def worth(points: Array) -> Array:
    """Return one number for each point, shape (N,), larger for the one NSGA-II would prefer.

    The whole part is less by one for every front before the point's own; within a front the less
    crowded is worth more, by less than one. Equal points after the first count as fully crowded.
    """
    rank, value = ranks(points), np.empty(len(points))
    for front in range(int(rank.max(initial=-1)) + 1):
        members = np.flatnonzero(rank == front)
        _, first = np.unique(points[members], axis=0, return_index=True)
        single = members[np.sort(first)]
        value[members] = -front
        distance = crowding(points[single])
        finite = np.isfinite(distance)
        share = np.where(finite, distance / (1 + np.where(finite, distance, 0)), 1.0)
        value[single] += 0.01 + 0.98 * share
    return value
