"""The fit of rates: known rates come back, and what cannot be fitted is refused."""

import itertools

import numpy as np
import pytest

from headtail.errors import DataError
from headtail.surrogate import fit_surrogate, measure_agreement, solve_nonnegative
from headtail.tensor import Array

RATES = np.array([2e-6, 0.1e-9, 30e-9, 0.0])


def draw_features(rng: np.random.Generator, count: int = 60) -> Array:
    """Return counts over four orders of magnitude beside a column of ones."""
    counts = np.round(10 ** rng.uniform(1, 5, (count, 3)))
    return np.column_stack([np.ones(count), counts])


def test_known_rates_come_back_exactly() -> None:
    """A rate of zero too."""
    rng = np.random.default_rng(1)
    features = draw_features(rng)
    fitted = fit_surrogate(features, features @ RATES, rng)
    np.testing.assert_allclose(fitted.rates, RATES, rtol=1e-6, atol=1e-18)
    assert max(fitted.uncertainties) < 1e-12


def test_noise_of_ten_percent_leaves_rates_within_their_uncertainty() -> None:
    """At least nine times in ten, over seeds; the half-widths are of 95 % intervals."""
    hits = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        features = draw_features(rng)
        noisy = features @ RATES * rng.lognormal(0.0, 0.1, len(features))
        fitted = fit_surrogate(features, noisy, rng)
        apart = np.abs(np.array(fitted.rates[:3]) - RATES[:3])
        hits += list(apart <= 1.5 * np.array(fitted.uncertainties[:3]))
    assert np.mean(hits) >= 0.9


def test_solution_equals_the_best_of_all_subsets() -> None:
    """Brute force: least squares over every subset of columns whose solution is not negative."""
    rng = np.random.default_rng(3)
    for _ in range(50):
        matrix, target = rng.standard_normal((12, 4)), rng.standard_normal(12)
        best = np.linalg.norm(target)
        for size in range(1, 5):
            for chosen in itertools.combinations(range(4), size):
                part = matrix[:, list(chosen)]
                x = np.linalg.lstsq(part, target, rcond=None)[0]
                if (x >= 0).all():
                    best = min(best, np.linalg.norm(part @ x - target))
        x = solve_nonnegative(matrix, target)
        assert (x >= 0).all()
        assert np.linalg.norm(matrix @ x - target) == pytest.approx(best, rel=1e-8)


def test_agreement_by_hand() -> None:
    """R2 of [1, 2, 3] against [1, 2, 4]: 1 - 1 / 2."""
    found = measure_agreement(np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 4.0]))
    assert found.r2 == pytest.approx(0.5)
    assert found.median_error == 0
    assert found.worst_error == pytest.approx(1 / 3)
    assert measure_agreement(np.ones(2), np.ones(2)).r2 is None


@pytest.mark.parametrize(
    ("features", "seconds", "message"),
    [
        (np.ones((1, 2)), np.ones(1), "at least 2 layers, received 1"),
        (np.ones((3, 2)), np.array([1.0, 0.0, 1.0]), "finite times above 0"),
        (np.full((3, 2), np.nan), np.ones(3), "finite counts"),
    ],
)
def test_what_cannot_be_fitted_is_refused(features: Array, seconds: Array, message: str) -> None:
    with pytest.raises(DataError, match=message):
        fit_surrogate(features, seconds, np.random.default_rng(0))
