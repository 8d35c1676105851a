"""Tests of the synthetic ECG."""

import numpy as np
import pytest

from headtail.preprocess.pipeline import Pipeline
from optimizer.data.aami import LABELS
from optimizer.data.dataset import DataConfig
from optimizer.data.load import load
from optimizer.data.match import match
from optimizer.data.synthetic import make_record


def test_same_seed_makes_the_same_patient() -> None:
    first, second, other = (make_record(20, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.signal, second.signal)
    np.testing.assert_array_equal(first.samples, second.samples)
    assert not np.array_equal(first.signal, other.signal)


def test_detector_finds_its_beats() -> None:
    """The edge can find synthetic beats: 97 % and nothing else, over eight patients."""
    missed = wrong = total = 0
    for seed in range(8):
        record = make_record(60, np.random.default_rng(seed))
        stream = Pipeline(DataConfig().steps).stream(record.rate_hz)
        found = [window.sample for window in stream.push(record.signal) + stream.flush()]
        paired = len(match(record.samples, found, record.rate_hz).pairs)
        total += len(record.samples)
        missed += len(record.samples) - paired
        wrong += len(found) - paired
    assert missed <= 0.03 * total
    assert wrong <= 0.01 * total


@pytest.mark.parametrize("protocol", ["paper", "inter_patient"])
def test_data_set_says_that_it_is_synthetic(protocol: str) -> None:
    """Name, flag and protocol each say so, all five classes are in every split."""
    data = load(DataConfig(source="synthetic", protocol=protocol, seed=3, max_train_per_class=50))
    assert data.is_synthetic
    assert "synthetic ECG" == data.name
    assert f"synthetic {protocol}" == data.protocol
    assert dict.fromkeys(LABELS, 50) == data.train.counts(LABELS)
    assert all(min(part.counts(LABELS).values()) > 0 for part in data.splits.values())
    assert (187,) == data.train.x.shape[1:]


def test_classes_can_be_told_apart() -> None:
    """The nearest class mean alone is right three times out of four: they can be learnt."""
    data = load(DataConfig(source="synthetic", seed=0))
    means = np.stack([data.train.x[data.train.y == i].mean(axis=0) for i in range(5)])
    nearest = ((data.test.x[:, None] - means) ** 2).sum(axis=2).argmin(axis=1)
    assert np.mean(nearest == data.test.y) > 0.75
