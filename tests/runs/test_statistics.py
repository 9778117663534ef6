"""Tests of semaug.runs.statistics."""

import math
from statistics import stdev

import numpy as np
import pytest
from scipy.stats import ttest_1samp, ttest_rel

from semaug.runs.statistics import mean_and_spread, paired_difference, pairs_to_detect

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


def test_folds_have_the_wider_interval_of_nadeau_and_bengio():
    plain, folds = (paired_difference(FIRST, SECOND, overlap) for overlap in (0.0, 1 / 3))
    widths = [difference.high - difference.low for difference in (plain, folds)]
    assert widths[1] / widths[0] == pytest.approx(math.sqrt((1 / 4 + 1 / 3) / (1 / 4)))
    assert folds.mean == plain.mean
    assert folds.std == pytest.approx(stdev(b - a for a, b in zip(FIRST, SECOND, strict=True)))


@pytest.mark.parametrize(("size", "std"), [(0.5, 0.7), (1.0, 0.5), (0.2, 0.7)])
def test_so_many_pairs_show_a_difference_in_four_of_five_studies(size, std):
    pairs = pairs_to_detect(size, std)
    draws = np.random.default_rng(0).normal(size, std, (20_000, pairs))
    power = (ttest_1samp(draws, 0, axis=1).pvalue < 0.05).mean()
    fewer = (ttest_1samp(draws[:, :-1], 0, axis=1).pvalue < 0.05).mean() if pairs > 2 else 0
    assert fewer - 0.01 < 0.8 < power + 0.01


@pytest.mark.parametrize("std", [0.3, 0.45])
def test_folds_need_more_pairs_or_never_show_it(std):
    pairs, overlap = pairs_to_detect(1.0, std, 1 / 4), 1 / 4
    draws = np.random.default_rng(0).normal(1.0, std, (4000, pairs or 1000))
    found = [
        difference.low > 0 or difference.high < 0
        for row in draws
        for difference in [paired_difference([0.0] * len(row), [*row], overlap)]
    ]
    assert pairs is None or pairs > pairs_to_detect(1.0, std)
    assert np.mean(found) > 0.78 if pairs else np.mean(found) < 0.8


def test_nothing_to_detect_is_refused():
    for size, std in ((0, 1), (1, 0)):
        with pytest.raises(ValueError, match="pairs_to_detect: expected `size` > 0 and `std` > 0"):
            pairs_to_detect(size, std)
