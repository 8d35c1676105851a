"""When two models give the same answer to a window: what agents and fog count as agreement."""

from collections.abc import Mapping

import numpy as np

from headtail.bundle.manifest import Manifest
from headtail.tensor import Array

CLASSIFICATION = "classification"
TOLERANCE = 0.01
"""Largest difference of outputs that are no classes, relative to the largest output."""


def is_comparable(first: Manifest, second: Manifest) -> bool:
    """Return whether both take the same windows and their outputs mean the same."""
    return (
        first.task == second.task
        and first.labels == second.labels
        and first.inputs == second.inputs
        and first.preprocess == second.preprocess
        and first.outputs == second.outputs
        and first.is_batchable == second.is_batchable
    )


def count_agreed(
    manifest: Manifest, expected: Mapping[str, Array], actual: Mapping[str, Array]
) -> tuple[int, int]:
    """Return how many windows were compared, and how many got the same answer.

    Of a classifier that is the same largest entry of every output along its last axis, else every
    output within 1 % of the largest expected one. What is not finite never agrees.

    Args:
        manifest: Of either model; both are comparable.
        expected: Outputs of one model by name, the batch first where it is batchable.
        actual: Outputs of the other, of the same shapes.
    """
    same: Array | None = None
    for spec in manifest.outputs:
        first, second = expected[spec.name], actual[spec.name]
        if not manifest.is_batchable:
            first, second = first[None], second[None]
        agrees = _agree(manifest.task, first, second)
        same = agrees if same is None else same & agrees
    assert same is not None, "a model has outputs"
    return len(same), int(same.sum())


def _agree(task: str, expected: Array, actual: Array) -> Array:
    """Return whether each window agrees, shape (N,)."""
    count = len(expected)
    if expected.shape != actual.shape:
        return np.zeros(count, bool)
    finite = np.isfinite(expected).reshape(count, -1).all(1)
    finite &= np.isfinite(actual).reshape(count, -1).all(1)
    if task == CLASSIFICATION and expected.ndim > 1 and expected.shape[-1] > 1:
        same = expected.argmax(-1) == actual.argmax(-1)
        agreed: Array = finite & same.reshape(count, -1).all(1)
        return agreed
    with np.errstate(invalid="ignore"):
        error = np.abs(actual.astype(np.float64) - expected).reshape(count, -1).max(1)
        largest = np.abs(expected.astype(np.float64)).max(initial=0.0)
        close: Array = finite & (error <= TOLERANCE * largest)
        return close
