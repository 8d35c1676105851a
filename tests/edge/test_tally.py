"""Running figures: what they say of the last windows."""

import numpy as np
import pytest

from edge_agent.result import Result
from edge_agent.tally import KEPT, Tally


def result(sequence: int, seconds: float, network_s: float | None) -> Result:
    """Return a result whose parts take so long, or twice and three times that."""
    return Result(
        sequence, 0, None, [], "edge", 0, "float32", 3 * seconds, seconds, 2 * seconds,
        network_s, None, 5, None, None,
    )  # fmt: skip


@pytest.mark.parametrize("count", [1, 10, KEPT + 100])
def test_percentiles_are_those_of_the_last_windows(count):
    seconds = np.random.default_rng(5).random(count).astype(np.float32)
    tally = Tally((), lambda: 0.0)
    for i, s in enumerate(seconds.tolist()):
        tally.take([result(i, s, s / 2 if i % 2 else None)])
    figures = tally.figures()
    last = seconds[-KEPT:]
    assert {"head", "tail", "total"} | ({"network"} if count > 1 else set()) == set(
        figures.percentiles_s
    )
    for part, factor in (("head", 1), ("tail", 2), ("total", 3)):
        expected = np.percentile(factor * last, (50, 99))
        assert pytest.approx(expected, rel=1e-5) == figures.percentiles_s[part]
    if count > 1:
        odd = seconds[1::2][-KEPT // 2 :]
        assert pytest.approx(np.median(odd) / 2, rel=1e-5) == figures.percentiles_s["network"][0]
    assert (count, 5 * count) == (figures.windows, figures.tx_bytes)
