"""The volume that a set of points dominates: one figure for how far a whole front has come.

Exact for any number of objectives, all minimised. Source of the recursion, which takes from each
point's box what the points after it dominate of it: While, Bradstreet and Barone, A fast way of
calculating exact hypervolumes, doi:10.1109/TEVC.2010.2077298.
"""

import numpy as np

from headtail.tensor import Array
from optimizer.search.pareto import nondominated


def hypervolume(points: Array, reference: Array) -> float:
    """Return the volume between `reference` and all points that are better than it everywhere.

    Args:
        points: Objectives to minimise, shape (N, objectives); N may be 0.
        reference: The corner that bounds the volume, shape (objectives,).

    Raises:
        ValueError: If the shapes do not fit, or a value is not finite.
    """
    points, reference = np.asarray(points, np.float64), np.asarray(reference, np.float64)
    if reference.ndim != 1 or not reference.size or points.shape[1:] != reference.shape:
        raise ValueError(
            f"expected points of shape (N, {reference.size}) and a reference of shape"
            f" ({reference.size},), received {points.shape} and {reference.shape}"
        )
    if not np.isfinite(points).all() or not np.isfinite(reference).all():
        raise ValueError("expected finite objectives and a finite reference")
    within = points[(points < reference).all(axis=1)]
    return _volume(within[nondominated(within)], reference)


def _volume(points: Array, reference: Array) -> float:
    """Return the volume of points of which none dominates another."""
    if len(points) == 0:
        return 0.0
    if len(points) == 1 or len(reference) == 1:
        return float(np.prod(reference - points.min(axis=0)))
    if len(reference) == 2:
        return _area(points, reference)
    # With the worst in the last objective first, what the later points share with a point's box
    # has the box's own height: one objective less to look at.
    points = points[np.argsort(-points[:, -1], kind="stable")]
    heights, floor = reference[-1] - points[:, -1], points[:, :-1]
    total = 0.0
    for i in range(len(points)):
        shared = np.maximum(floor[i + 1 :], floor[i])
        base = float(np.prod(reference[:-1] - floor[i]))
        total += heights[i] * (base - _volume(shared[nondominated(shared)], reference[:-1]))
    return float(total)


def _area(points: Array, reference: Array) -> float:
    points = points[np.argsort(points[:, 0], kind="stable")]
    tops = np.concatenate([reference[1:], points[:-1, 1]])
    return float(np.sum((reference[0] - points[:, 0]) * (tops - points[:, 1])))
