"""Tests of semaug.runs.statistics."""

import pytest
from scipy.stats import ttest_rel

from semaug.runs.statistics import mean_and_spread, paired_difference

FIRST, SECOND = [31.2, 30.8, 31.9, 30.1], [30.2, 30.1, 30.9, 30.0]


def test_agrees_with_the_paired_t_test_of_scipy():
    difference = paired_difference(FIRST, SECOND)
    expected = ttest_rel(SECOND, FIRST).confidence_interval(0.95)
    assert (difference.low, difference.high) == pytest.approx((expected.low, expected.high))
    assert difference.mean == pytest.approx(-0.7)


def test_one_pair_has_no_interval():
    difference = paired_difference([2.0], [1.0])
    assert (difference.mean, difference.low, difference.high, difference.pairs) == (
        -1,
        None,
        None,
        1,
    )


def test_one_value_has_no_spread():
    assert mean_and_spread([2.0]) == (2.0, None)


@pytest.mark.parametrize(("first", "second"), [([], []), ([1.0], [1.0, 2.0])])
def test_pairs_must_be_complete(first, second):
    with pytest.raises(ValueError, match="expected as many in `first` as in `second`"):
        paired_difference(first, second)


@pytest.mark.parametrize("first", [[3.0, 2.0, 4.0], [0.1, 0.2, 0.3], [0.0, 0.0]])
def test_equal_differences_have_no_interval(first):
    """Nor do those that are equal but for rounding."""
    difference = paired_difference(first, [value + 0.7 for value in first])
    assert difference.mean == pytest.approx(0.7)
    assert (difference.low, difference.high, difference.pairs) == (None, None, len(first))
