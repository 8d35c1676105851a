"""Scores against figures worked out by hand."""

import numpy as np
import pytest

from headtail.errors import ShapeMismatch
from optimizer.scores import score

TRUE = np.array([0, 0, 0, 1, 1, 2])
GIVEN = np.array([0, 0, 1, 1, 0, 2])


def test_confusion_has_true_classes_in_rows() -> None:
    """Two of three zeros are right, one was called a one."""
    expected = [[2, 1, 0], [1, 1, 0], [0, 0, 1]]
    assert expected == score(TRUE, GIVEN, 3).confusion.tolist()


def test_accuracy_and_macro_f1_by_hand() -> None:
    """F1 is 2/3 for class 0, 1/2 for class 1, 1 for class 2."""
    scores = score(TRUE, GIVEN, 3)
    assert pytest.approx(4 / 6) == scores.accuracy
    assert pytest.approx([2 / 3, 1 / 2, 1]) == scores.f1.tolist()
    assert pytest.approx((2 / 3 + 1 / 2 + 1) / 3) == scores.macro_f1


def test_precision_and_recall_by_hand() -> None:
    """Nothing was called a 3, and nothing is one."""
    scores = score(TRUE, GIVEN, 4)
    np.testing.assert_allclose([2 / 3, 1 / 2, 1, np.nan], scores.precision)
    np.testing.assert_allclose([2 / 3, 1 / 2, 1, np.nan], scores.recall)
    rare = score(np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1]), 2)
    np.testing.assert_allclose([1, 1 / 2], rare.precision)
    np.testing.assert_allclose([2 / 3, 1], rare.recall)


def test_class_that_does_not_occur_is_left_out_of_macro_f1() -> None:
    """Otherwise a split without a rare class could never reach 1."""
    assert score(np.array([0, 1]), np.array([0, 1]), 3).macro_f1 == 1.0


def test_lengths_must_agree() -> None:
    """A shifted comparison would give a figure all the same."""
    with pytest.raises(ShapeMismatch, match="classes given"):
        score(np.array([0, 1]), np.array([0]), 2)
