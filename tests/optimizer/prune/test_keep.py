"""Which channels stay: thresholds, costs, rounding, diversity."""

import itertools

import numpy as np
import pytest
from prune_case import randomise
from prune_networks import build

from headtail.errors import PruningError

pytestmark = pytest.mark.tf


@pytest.fixture(name="network", scope="module")
def _network():
    from optimizer.prune.groups import find_groups

    model = build("plain")
    randomise(model, np.random.default_rng(8))
    return model, find_groups(model)


def scores(**rows: list[float]):
    """Return scores as a criterion would."""
    from optimizer.prune.scores import Scores

    return Scores("hand", {n: np.array(r, float) for n, r in rows.items()}, is_comparable=False)


def test_scopes_put_scores_on_one_scale() -> None:
    by_hand = scores(a=[1, 3], b=[10, 20, 60])
    close = {"rtol": 1e-12}
    np.testing.assert_allclose([1 / 3, 1], by_hand.relative("layer")["a"], **close)
    np.testing.assert_allclose([1 / 3, 2 / 3, 1], by_hand.relative("uniform")["b"], **close)
    # Means 2 and 30: 0.5, 1.5 and 1/3, 2/3, 2; the largest is 2.
    np.testing.assert_allclose([0.25, 0.75], by_hand.relative("global")["a"], **close)
    np.testing.assert_allclose([1 / 6, 1 / 3, 1], by_hand.relative("global")["b"], **close)


def test_a_threshold_keeps_what_is_above_and_never_nothing(network) -> None:
    from optimizer.prune.keep import Rules, keep_above

    _, groups = network
    rows = scores(a=[1, 2, 3, 4, 5, 6, 7, 8], b=[0, 0, 0, 0, 0, 0])
    assert {"a": (4, 5, 6, 7), "b": (0, 1, 2, 3, 4, 5)} == keep_above(
        groups, rows, 0.5, Rules("layer")
    )
    assert (7,) == keep_above(groups, rows, 1.0, Rules("layer"))["a"]
    rules = Rules("layer", multiple=4, min_share=0.6)
    assert tuple(range(8)) == keep_above(groups, rows, 1.0, rules)["a"]


@pytest.mark.parametrize("scope", ["global", "layer", "uniform"])
def test_the_cost_limit_is_kept_and_used(network, scope: str) -> None:
    """No lower threshold would do, by trying all."""
    from optimizer.prune.keep import Rules, keep_above, keep_for_macs
    from optimizer.prune.weight_importance import l1_importance

    _, groups = network
    rows, rules = l1_importance(groups), Rules(scope)
    steps = sorted({-1.0, *itertools.chain(*rows.relative(scope).values())})
    for share in (0.25, 0.5, 0.9):
        limit = share * groups.macs({})
        fits = [
            keep
            for keep in (keep_above(groups, rows, t, rules) for t in steps)
            if groups.macs(keep) <= limit
        ]
        assert fits[0] == keep_for_macs(groups, rows, limit, rules)
    with pytest.raises(PruningError, match="expected at most 10 MACs, the fewest possible are"):
        keep_for_macs(groups, rows, 10, rules)


def test_rounding_takes_channels_back_in(network) -> None:
    from optimizer.prune.keep import rounded

    _, groups = network
    rows = scores(a=[1, 9, 2, 8, 3, 7, 4, 6])
    assert {"a": (0, 1, 3, 5)} == rounded(groups, {"a": (0,)}, 4, rows)
    assert {"b": (0, 1, 2, 3, 4, 5)} == rounded(groups, {"b": (2, 3, 4, 5, 0)}, 8)


def test_diversity_counts_channels_that_differ() -> None:
    from optimizer.prune.diversity import vendi_score

    assert 1 == pytest.approx(vendi_score(np.ones((5, 5))))
    assert 5 == pytest.approx(vendi_score(np.eye(5)))
    twins = np.kron(np.eye(3), np.ones((2, 2)))
    assert 3 == pytest.approx(vendi_score(twins))


def test_a_copy_does_not_count_but_another_channel_does(network) -> None:
    """Channels 0 to 3 are copies of one; the bound takes in the others."""
    from optimizer.prune.diversity import channel_diversity
    from optimizer.prune.groups import find_groups
    from optimizer.prune.keep import Rules, keep_above

    model, _ = network
    kernel = model.get_layer("a").kernel.numpy()
    kernel[..., :4] = kernel[..., :1]
    model.get_layer("a").kernel.assign(kernel)
    groups = find_groups(model)
    rows = scores(a=[8, 7, 6, 5, 4, 3, 2, 1])
    rules = Rules("layer", diversity=channel_diversity(groups, 0.6))
    kept = keep_above(groups, rows, 0.55, rules)["a"]
    assert set(range(4)) < set(kept)
    assert rules.diversity.of(groups["a"], kept) >= 0.6
    assert rules.diversity.of(groups["a"], range(4)) < 0.6
    with pytest.raises(PruningError, match=r"D_min: expected 0 to 1, received 1\.5"):
        channel_diversity(groups, 1.5)


def test_the_threshold_is_searched_for_the_best_profit(network) -> None:
    """Accuracy that falls once less than 60 % of the cost is left: the best is just above."""
    from optimizer.prune.threshold import Goal, search_threshold
    from optimizer.prune.weight_importance import l1_importance

    _, groups = network
    whole = groups.macs({})

    def evaluate(keep) -> float:
        return 0.9 if groups.macs(keep) >= 0.6 * whole else 0.4

    goal = Goal(1.0, 0.5)
    trials = search_threshold(groups, l1_importance(groups), evaluate, goal, trials=9)
    assert 9 == len(trials)
    assert 0.9 == trials[0].accuracy
    assert 0.6 <= trials[0].macs / whole < 0.75
    assert trials[0].profit == pytest.approx(0.9 - 0.5 * trials[0].macs / whole)
    with pytest.raises(PruningError, match=r"A_min: expected 0.95, the best of 5 thresholds"):
        search_threshold(groups, l1_importance(groups), evaluate, Goal(min_accuracy=0.95), trials=5)


def test_wrong_rules_are_refused() -> None:
    from optimizer.prune.keep import Rules

    with pytest.raises(PruningError, match="expected global, layer or uniform, received 'all'"):
        Rules("all")
    with pytest.raises(PruningError, match="expected a multiple of at least 1"):
        Rules(multiple=0)
