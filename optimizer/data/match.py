"""Matching detected beats with annotated ones, as AAMI EC57 counts them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

# ANSI/AAMI EC57:2012, 4.3.2: a detection within 150 ms of an annotation is that beat.
TOLERANCE_S = 0.150


@dataclass(frozen=True, slots=True)
class Match:
    """Which detections are which annotated beats."""

    pairs: NDArray[np.int64]
    """Index into the reference and index into the detections, shape (K, 2), rising."""
    reference: int
    """Annotated beats."""
    detected: int
    """Detections."""

    @property
    def sensitivity(self) -> float:
        """Share of annotated beats that were detected; 1 where there were none."""
        return len(self.pairs) / self.reference if self.reference else 1.0

    @property
    def positive_predictivity(self) -> float:
        """Share of detections that are annotated beats; 1 where there were none."""
        return len(self.pairs) / self.detected if self.detected else 1.0


def match(reference: ArrayLike, detected: ArrayLike, rate_hz: float) -> Match:
    """Pair beats one to one within 150 ms: as many as can be, then the nearer of free detections.

    Both lists rise, so pairing each reference beat with the first free detection in its reach is
    optimal in number: giving it a later one could only take that from a later beat.

    Args:
        reference: Annotated R peaks in samples, rising, shape (N,).
        detected: Detected R peaks in samples, rising, shape (M,).
        rate_hz: Sampling rate of both.
    """
    left = np.asarray(reference, dtype=np.int64).tolist()
    right = np.asarray(detected, dtype=np.int64).tolist()
    reach = TOLERANCE_S * rate_hz
    pairs: list[list[int]] = []
    i = j = 0
    while i < len(left) and j < len(right):
        distance = right[j] - left[i]
        if abs(distance) <= reach:
            pairs.append([i, j])
            i, j = i + 1, j + 1
        elif distance < 0:
            j += 1
        else:
            i += 1
    _prefer_nearer(pairs, left, right)
    return Match(np.array(pairs, dtype=np.int64).reshape(-1, 2), len(left), len(right))


def _prefer_nearer(pairs: list[list[int]], left: list[int], right: list[int]) -> None:
    """Move each pair on to the later detections nobody has while those are nearer.

    The pairing took the first detection in reach, so nearer ones lie later.
    """
    after = [pair[1] for pair in pairs[1:]] + [len(right)]
    for pair, end in zip(pairs, after, strict=False):
        i, j = pair
        while j + 1 < end and abs(right[j + 1] - left[i]) < abs(right[j] - left[i]):
            j += 1
        pair[1] = j
