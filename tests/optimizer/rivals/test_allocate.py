"""Tests of which channels stay: the limit, the multiples, importance for its cost."""

import itertools

import numpy as np
import pytest

from optimizer.prune.keep import Rules
from optimizer.prune.scores import Scores

pytestmark = pytest.mark.tf


@pytest.fixture(scope="module")
def groups(tensorflow: None) -> object:
    """Return the groups of two convolutions: 6 channels at 4 x 4 places, 4 at 2 x 2."""
    import keras

    from optimizer.prune.groups import find_groups

    inputs = keras.Input((4, 4, 2))
    x = keras.layers.Conv2D(6, 1, name="first")(inputs)
    x = keras.layers.Conv2D(4, 2, strides=2, name="second")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return find_groups(keras.Model(inputs, keras.layers.Dense(3)(x)))


def macs(first: int, second: int) -> int:
    """Return the cost by hand."""
    return 16 * 2 * first + 4 * 4 * first * second + 3 * second


def test_importance_for_each_mac_is_by_hand(groups: object) -> None:
    """A channel of the first layer costs 32 and 16 for each of the second's; one of those 99."""
    from optimizer.rivals.allocate import per_mac

    scores = Scores("x", {"first": np.arange(6.0), "second": np.full(4, 2.0)}, True)
    found = per_mac(groups, scores)
    np.testing.assert_allclose(found.by_group["first"], np.arange(6) / (32 + 16 * 4))
    np.testing.assert_allclose(found.by_group["second"], 2 / (16 * 6 + 3))
    relative = per_mac(groups, Scores("x", scores.by_group, False)).by_group
    np.testing.assert_allclose(relative["second"], 1 / (16 * 6 + 3))


@pytest.mark.parametrize("way", ["global", "cost", "layer", "uniform"])
@pytest.mark.parametrize("multiple", [1, 2])
def test_no_channel_more_fits(groups: object, way: str, multiple: int) -> None:
    """The cost is within the limit, and one more multiple of any group is beyond it."""
    from optimizer.rivals.allocate import allocate

    rng = np.random.default_rng(4)
    for limit, _ in itertools.product((150, 250, 350), range(5)):
        scores = Scores("x", {"first": rng.random(6), "second": rng.random(4)}, True)
        keep = allocate(groups, scores, limit, Rules(multiple=multiple), way)
        widths = len(keep["first"]), len(keep["second"])
        assert groups.macs(keep) == macs(*widths) <= limit
        assert all(width % multiple == 0 for width in widths)
        for wider in ((widths[0] + multiple, widths[1]), (widths[0], widths[1] + multiple)):
            assert macs(*wider) > limit or wider[0] > 6 or wider[1] > 4
        for name, row in scores.by_group.items():
            dropped = set(range(len(row))) - set(keep[name])
            assert max((row[i] for i in dropped), default=-1) < min(row[i] for i in keep[name])


def test_the_allocation_that_loses_least_is_taken(groups: object) -> None:
    from optimizer.rivals.allocate import choose_keep

    scores = Scores("x", {"first": np.arange(1.0, 7), "second": np.arange(1.0, 5)}, True)
    rules, ways = Rules(), ("global", "layer", "uniform")
    for best in ways:
        from optimizer.rivals.allocate import allocate

        wanted = allocate(groups, scores, 200, rules, best)
        keep, way = choose_keep(
            groups, scores, 200, rules, ways, lambda k, wanted=wanted: float(k != wanted)
        )
        assert keep == wanted
        assert allocate(groups, scores, 200, rules, way) == wanted
