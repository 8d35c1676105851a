"""How sure a classifier is, by hand and against the definition of softmax."""

import math

import numpy as np
import pytest

from edge_agent.confidence import confidence


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ([0.1, 0.7, 0.2], 0.7),
        ([0.3001, 0.7003], 0.7003),  # probabilities that went through float16
        ([0.0, 1.0005], 1.0),
        ([0.0, 0.0], 0.5),  # logits
        ([2.0, 2.0 + math.log(3.0)], 0.75),
        ([1000.0, -1000.0], 1.0),
        ([1.0], None),
        ([], None),
        ([math.nan, math.nan], None),
        ([math.inf, 0.0], None),
    ],
)
def test_confidence_by_hand(output, expected):
    assert expected == (None if expected is None else pytest.approx(confidence(output)))
    assert (expected is None) == (confidence(output) is None)


def test_logits_are_weighed_as_softmax_does():
    logits = np.random.default_rng(4).standard_normal((50, 7)) * 5
    powers = np.exp(logits)
    expected = (powers / powers.sum(axis=1, keepdims=True)).max(axis=1)
    np.testing.assert_allclose([confidence(list(row)) for row in logits], expected, rtol=1e-12)
