"""Affines of least squared error, against a search on the values themselves and printed figures."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from headtail.tensor import Array, TensorSpec
from headtail.wire import STORED_RANGES, Affine, Encoding, calibrate, decode, encode
from optimizer.calibration import Distribution, fit_affine

INT4 = Encoding.INT4
ARRAYS = hnp.arrays(
    np.float32, hnp.array_shapes(max_dims=2, max_side=20), elements=st.floats(-1e5, 1e5, width=32)
)


def found(values: Array, encoding: Encoding = INT4) -> Affine:
    """Return the affine for these values."""
    seen = Distribution(float(values.min()), float(values.max()))
    seen.add(values)
    return seen.affine(encoding)


def squared_error(values: Array, affine: Affine, encoding: Encoding = INT4) -> float:
    """Return the mean squared error of values that travelled."""
    sent = encode(values, encoding, affine, is_batchable=False)
    back = decode(sent, TensorSpec("a", "float32", values.shape), affine)
    return float(np.mean((back.astype(np.float64) - values) ** 2))


@given(ARRAYS)
def test_no_worse_than_the_affine_that_spans_the_range(values: Array) -> None:
    """But for the width of a bin; zero points stay among the stored values."""
    affine = found(values)
    spanning = squared_error(values, calibrate(values, INT4))
    assert squared_error(values, affine) <= 1.02 * spanning + 1e-9 * float(np.ptp(values)) ** 2
    least, largest = STORED_RANGES[INT4]
    assert least <= affine.zero_point <= largest


@pytest.mark.parametrize("name", ["normal", "laplace", "relu", "shifted", "outlier", "negative"])
def test_as_good_as_a_finer_search_on_the_values(name: str) -> None:
    """Every zero point with 300 scales, tried on the values one by one."""
    rng = np.random.default_rng(6)
    normal = rng.normal(size=3000)
    values = {
        "normal": normal,
        "laplace": rng.laplace(size=3000),
        "relu": np.maximum(normal, 0),
        "shifted": normal + 1.5,
        "outlier": np.append(normal, 20.0),
        "negative": -np.abs(normal) - 0.5,
    }[name].astype(np.float32)
    best = np.inf
    for zero_point in range(-8, 8):
        for scale in np.linspace(0.05, 1.1, 300) * (np.ptp(values) + 1) / 15:
            stored = np.clip(np.rint(values / scale + zero_point), -8, 7)
            best = min(best, float(np.mean(((stored - zero_point) * scale - values) ** 2)))
    assert squared_error(values, found(values)) <= 1.01 * best


def test_step_for_a_normal_distribution_is_the_printed_one() -> None:
    """16 equal steps: 0.3352 standard deviations, error 0.01154 (Max 1960, table II).

    His levels lie symmetrically about zero; with zero among them one end is half a step shorter.
    """
    values = np.random.default_rng(1).normal(size=200_000).astype(np.float32)
    affine = found(values)
    assert affine.scale == pytest.approx(0.3352, rel=0.05)
    assert squared_error(values, affine) == pytest.approx(0.01154, rel=0.05)
    assert squared_error(values, calibrate(values, INT4)) > 2 * 0.01154


def test_pieces_are_counted_like_the_whole() -> None:
    values = np.random.default_rng(2).normal(size=(40, 6)).astype(np.float32)
    pieces = Distribution(float(values.min()), float(values.max()))
    for piece in np.split(values, 8):
        pieces.add(piece)
    assert found(values) == pieces.affine(INT4)


@pytest.mark.parametrize("values", [[0.0], [0.0, 0.0], [3.5], [-2.0], [1e-40], [0.0, 3e38]])
def test_few_or_equal_values_have_a_usable_affine(values: list[float]) -> None:
    """One value beside zero comes back as it was; what is almost zero becomes zero."""
    array = np.array(values, np.float32)
    affine = found(array)
    assert squared_error(array, affine) <= (1e-6 * float(np.abs(array).max())) ** 2 + 1e-79


def test_int8_gains_little() -> None:
    """With 256 levels the range is worth a few far values: the same search moves it hardly."""
    values = np.random.default_rng(3).normal(size=20_000).astype(np.float32)
    spanning = calibrate(values)
    assert found(values, Encoding.INT8).scale > 0.85 * spanning.scale


def test_what_a_training_sees_is_what_a_bundle_would_have() -> None:
    """int8 spans the range, int4 is cut off."""
    values = np.random.default_rng(4).laplace(size=(50, 6)).astype(np.float32)
    assert calibrate(values) == fit_affine(values, Encoding.INT8)
    assert found(values) == fit_affine(values, INT4)
    assert calibrate(values, INT4).scale > 1.1 * found(values).scale
