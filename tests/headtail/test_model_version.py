"""Versions as integers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headtail.bundle.manifest import version_key
from headtail.model_version import model_version

PARTS = st.lists(st.integers(0, 9999), min_size=3, max_size=3).filter(lambda p: p[0] > 0)


@pytest.mark.parametrize(
    ("version", "number"),
    [("1", 1), ("7", 7), ("1.9", 10009), ("1.10", 10010), ("2.0.1", 200000001)],
)
def test_each_later_number_takes_four_digits(version, number):
    assert number == model_version(version)


@given(PARTS, PARTS)
def test_order_is_kept(one, other):
    texts = [".".join(map(str, parts)) for parts in (one, other)]
    numbers = [model_version(text) for text in texts]
    keys = [version_key(text) for text in texts]
    assert (keys[0] < keys[1]) == (numbers[0] < numbers[1])


@pytest.mark.parametrize("version", ["0", "1.10000", "999999999.0.0.0"])
def test_what_is_no_such_integer_is_refused(version):
    with pytest.raises(ValueError, match=f"version {version}"):
        model_version(version)
