"""What a cut costs on this machine: head and tail timed, and held against the whole model."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from headtail.tensor import Array

MOST_PENALTY = 0.05
"""Of compute; a point that costs more is marked."""
WARM_ROUNDS = 2  # the first run of a shape plans its memory


class Halves(NamedTuple):
    """Compute time of one window at one partition point."""

    head_s: float
    tail_s: float

    @property
    def total_s(self) -> float:
        """Both together."""
        return self.head_s + self.tail_s


class Runner(Protocol):
    """What runs either half of a model, as a `Chain` does."""

    def head(self, inputs: Mapping[str, Array], point: int) -> dict[str, Array]:
        """Return the activation at `point`."""
        ...

    def tail(self, activation: Mapping[str, Array], point: int) -> dict[str, Array]:
        """Return the outputs from the activation at `point`."""
        ...


def measure(
    runner: Runner,
    inputs: Mapping[str, Array],
    points: Sequence[int],
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[int, Halves]:
    """Return the least time of head and tail at each point, the points taking turns.

    What else the machine does only ever adds to a time, so of a few the least is the truest.

    Args:
        runner: Runs the halves.
        inputs: One window, or as many as are to be timed at once.
        points: Partition points.
        rounds: Timed runs of each half; two more go before them.
        clock: In seconds.
    """
    least = {point: Halves(float("inf"), float("inf")) for point in points}
    for round_ in range(WARM_ROUNDS + rounds):
        for point in points:
            timed = time_halves(runner, inputs, point, clock)
            if round_ >= WARM_ROUNDS:
                before = least[point]
                pairs = zip(before, timed, strict=True)
                least[point] = Halves(*map(min, pairs))
    return least


def time_halves(
    runner: Runner, inputs: Mapping[str, Array], point: int, clock: Callable[[], float]
) -> Halves:
    """Run head and tail once and return how long each took, by `clock`."""
    start_s = clock()
    activation = runner.head(inputs, point)
    middle_s = clock()
    runner.tail(activation, point)
    return Halves(middle_s - start_s, clock() - middle_s)
