"""Tests of what a cut costs: timed with a clock of the test's own."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from headtail.bundle import Bundle, read_bundle
from headtail.bundle.keys import Trust
from headtail.cut_cost import Halves, measure
from headtail.segment import Chain, first_window
from headtail.tensor import Array

HEAD_S = {1: [9, 9, 3, 2, 4], 2: [9, 9, 5, 6, 5]}
TAIL_S = {1: [9, 9, 7, 8, 6], 2: [9, 9, 1, 1, 3]}
"""Of each round; the first two only warm up."""


class Clockwork:
    """Halves that take just what the tables say, on a clock of their own."""

    def __init__(self) -> None:
        """Begin at zero."""
        self.now_s = 0.0
        self.runs: list[tuple[str, int]] = []

    def _take(self, half: str, point: int, table: Mapping[int, list[int]]) -> None:
        self.now_s += table[point][self.runs.count((half, point))]
        self.runs.append((half, point))

    def head(self, inputs: Mapping[str, Array], point: int) -> dict[str, Array]:
        """Return one tensor that names the point."""
        self._take("head", point, HEAD_S)
        return {"a": inputs["x"] + np.float32(point)}

    def tail(self, activation: Mapping[str, Array], point: int) -> dict[str, Array]:
        """Take the tensor of that point."""
        assert activation["a"] == point
        self._take("tail", point, TAIL_S)
        return {}


def test_the_least_of_the_rounds_counts_and_the_first_two_do_not() -> None:
    clockwork = Clockwork()
    found = measure(clockwork, {"x": np.zeros(())}, [1, 2], 3, lambda: clockwork.now_s)
    assert {1: Halves(2, 6), 2: Halves(5, 1)} == found
    assert (8, 6) == (found[1].total_s, found[2].total_s)
    assert [("head", 1), ("tail", 1), ("head", 2), ("tail", 2)] * 5 == clockwork.runs


@pytest.fixture
def bundle(tmp_path: Path, write_test_bundle: Callable[..., Path], trust: Trust) -> Bundle:
    """Return the three-segment chain."""
    return read_bundle(write_test_bundle(tmp_path), trust)


def test_a_chain_measures_every_point_of_its_bundle(bundle: Bundle) -> None:
    chain = Chain(bundle)
    found = chain.measure(bundle, range(4), rounds=1)
    assert [0, 1, 2, 3] == list(found)
    assert all(halves.head_s > 0 and halves.tail_s >= 0 for halves in found.values())
    assert (1, 16, 2) == first_window(bundle)["x"].shape


def test_a_released_range_runs_segment_by_segment_and_gives_its_room_back(bundle: Bundle) -> None:
    chain, x = Chain(bundle), bundle.samples.inputs
    expected = chain.tail(x, 0)["y"]
    for _ in range(3):
        chain.merge(bundle, [(0, 2), (1, 3), (0, 2)])
        assert (True, True) == (chain.is_merged(0, 2), chain.is_merged(1, 3))
        chain.release([(0, 2), (1, 3), (0, 3)])
        assert (False, False) == (chain.is_merged(0, 2), chain.is_merged(1, 3))
    np.testing.assert_allclose(expected, chain.tail(chain.head(x, 2), 2)["y"], rtol=1e-6)
    assert chain._merged_bytes == 0
