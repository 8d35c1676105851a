"""The steps of a training: which windows each of them sees, with what weights, at what rate."""

from typing import Literal, Protocol

import numpy as np

from headtail.tensor import Array


class Pace(Protocol):
    """What a section [train] says of the rate."""

    @property
    def epochs(self) -> int:
        """Passes in all."""

    @property
    def learning_rate(self) -> float:
        """Rate at its largest."""

    @property
    def schedule(self) -> Literal["constant", "cosine"]:
        """Whether the rate stays or falls to zero along half a cosine."""

    @property
    def warm_up(self) -> int:
        """Passes over which the rate rises to what it would be."""


def learning_rates(pace: Pace, steps: int) -> Array:
    """Return the rate of each step of `steps` a pass, shape (steps x passes,), float64."""
    total = steps * pace.epochs
    rates = np.full(total, pace.learning_rate)
    if pace.schedule == "cosine":
        rates *= 0.5 * (1 + np.cos(np.pi * np.arange(total) / total))
    if pace.warm_up:
        rates *= np.minimum(1.0, np.arange(1, total + 1) / (steps * pace.warm_up))
    return rates


def draw_steps(labels: Array, batch: int, balance: str, rng: np.random.Generator) -> Array:
    """Return the windows of each step of one pass, int64, shape (steps, batch).

    Windows beyond the last whole batch wait for another pass; fewer windows than one make one.
    """
    batch = min(batch, len(labels))
    steps = len(labels) // batch
    return draw_order(labels, balance, rng)[: steps * batch].reshape(steps, batch)


def draw_order(labels: Array, balance: str, rng: np.random.Generator) -> Array:
    """Return the windows of one pass in random order, shape (N,)."""
    if balance != "sample":
        return rng.permutation(len(labels))
    present = np.unique(labels)
    share = -(-len(labels) // len(present))
    chosen = [_draw(np.flatnonzero(labels == c), share, rng) for c in present]
    return rng.permutation(np.concatenate(chosen))[: len(labels)]


def class_weights(labels: Array, classes: int, balance: str) -> Array:
    """Return one weight per class, shape (classes,), whose mean over the windows is 1."""
    counts = np.bincount(labels, minlength=classes)
    power = {"root": 0.5, "weight": 1.0}.get(balance, 0.0)
    weights = np.where(counts, np.maximum(counts, 1.0) ** -power, 0.0)
    return np.asarray(weights * len(labels) / (weights @ counts), np.float32)


def _draw(indices: Array, count: int, rng: np.random.Generator) -> Array:
    """Return `count` of `indices`: each as often as any other, give or take one."""
    whole = np.tile(indices, count // len(indices))
    return np.concatenate([whole, rng.choice(indices, count % len(indices), replace=False)])
