"""Tests of semaug._checks."""

import pytest
import torch

from semaug._checks import check_at_least, check_shapes


def test_the_first_tensor_fixes_the_size_of_a_letter():
    check_shapes("f", a=(torch.zeros(2, 3), "N C"), b=(torch.zeros(3), "C"))
    with pytest.raises(ValueError, match=r"f: expected `b` of shape \(C=3,\), got \(2,\)"):
        check_shapes("f", a=(torch.zeros(2, 3), "N C"), b=(torch.zeros(2), "C"))


def test_a_number_stands_for_itself():
    check_shapes("f", draws=(torch.zeros(5, 3), "N 3"))
    with pytest.raises(ValueError, match=r"f: expected `draws` of shape \(N, 3\), got \(5, 2\)"):
        check_shapes("f", draws=(torch.zeros(5, 2), "N 3"))


def test_a_letter_may_return_within_a_shape():
    with pytest.raises(ValueError, match=r"`a` of shape \(C, A, A\), got \(2, 3, 4\)"):
        check_shapes("f", a=(torch.zeros(2, 3, 4), "C A A"))


def test_infinity_is_no_strength():
    with pytest.raises(ValueError, match="f: expected finite `x` >= 0, got inf"):
        check_at_least("f", "x", float("inf"), 0)
    check_at_least("f", "x", torch.tensor(-1.0), 0)  # reading it would make a device wait
