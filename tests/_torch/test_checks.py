"""Tests of semaug._torch.checks."""

from fractions import Fraction

import numpy as np
import pytest
import torch

from semaug._torch.checks import (
    check_at_least,
    check_bool,
    check_channels_first,
    check_finite,
    check_int,
    check_number,
    check_positive_int,
    check_range,
    check_shapes,
    check_tensors,
    check_written,
    is_number,
)


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


def test_a_tensor_that_may_be_none_is_checked_if_it_is_there():
    a = torch.zeros(2, 3)
    check_tensors("f", b=(None, "C?"))
    check_tensors("f", a=(a, "N C"), b=(None, "C?"))
    check_tensors("f", a=(a, "N C"), b=(torch.zeros(3), "C?"))
    with pytest.raises(ValueError, match=r"f: expected `b` of shape \(C=3,\), got \(2,\)"):
        check_tensors("f", a=(a, "N C"), b=(torch.zeros(2), "C?"))
    with pytest.raises(TypeError, match="f: expected `b` to be a tensor, got NoneType"):
        check_tensors("f", a=(a, "N C"), b=(None, "C"))


def test_infinity_is_no_strength():
    with pytest.raises(ValueError, match="f: expected finite `x` >= 0, got inf"):
        check_at_least("f", "x", float("inf"), 0)
    check_at_least("f", "x", torch.tensor(-1.0), 0)  # reading it would make a device wait


@pytest.mark.parametrize("value", [True, "1", None, 1j, torch.tensor(1.0)], ids=repr)
def test_what_is_no_number_is_named(value):
    assert not is_number(value)
    with pytest.raises(TypeError, match="f: expected `x` to be a number, got "):
        check_number("f", "x", value)


@pytest.mark.parametrize("value", [0, -1.5, float("nan"), Fraction(1, 3), np.float32(2)], ids=repr)
def test_numbers_of_any_kind_are_numbers(value):
    assert is_number(value)
    check_number("f", "x", value)


@pytest.mark.parametrize("value", [True, "1", None], ids=repr)
def test_a_bound_is_for_numbers(value):
    with pytest.raises(TypeError, match=f"f: expected `x` to be a number, got {value!r}"):
        check_at_least("f", "x", value, 0)


@pytest.mark.parametrize("value", [True, 2.0, "2"], ids=repr)
def test_what_is_no_int_is_named(value):
    with pytest.raises(TypeError, match=f"f: expected `x` to be an int, got {value!r}"):
        check_int("f", "x", value, 0)
    with pytest.raises(TypeError, match=f"f: expected `x` to be an int, got {value!r}"):
        check_positive_int("f", x=value)


def test_ints_start_at_the_minimum():
    check_int("f", "x", -3, -3)
    with pytest.raises(ValueError, match="f: expected `x` >= -3, got -4"):
        check_int("f", "x", -4, -3)
    check_positive_int("f", x=1, y=2)
    with pytest.raises(ValueError, match="f: expected `y` >= 1, got 0"):
        check_positive_int("f", x=1, y=0)


def test_whole_numbers_of_numpy_become_ints():
    assert type(check_int("f", "x", np.int64(3), 0)) is int
    assert check_positive_int("f", x=np.uint8(3), y=2) == (3, 2)


@pytest.mark.parametrize("value", ["no", 0, 1, None], ids=repr)
def test_only_true_and_false_are_bools(value):
    check_bool("f", "x", True)
    check_bool("f", "x", False)
    with pytest.raises(TypeError, match=f"f: expected `x` to be a bool, got {value!r}"):
        check_bool("f", "x", value)


@pytest.mark.parametrize(("ids", "seen"), [([0, 3], r"0\.\.3"), ([-1, 2, 0], r"-1\.\.2")])
def test_ids_lie_in_their_range(ids, seen):
    with pytest.raises(ValueError, match=rf"f: expected `x` in 0\.\.2, got values in {seen}"):
        check_range("f", "x", torch.tensor(ids), 3)


def test_ids_at_both_ends_are_in_their_range():
    check_range("f", "x", torch.tensor([0, 2]), 3)
    check_range("f", "x", torch.tensor([], dtype=torch.int64), 0)  # none is wrong


def test_finite_numbers_are_named_if_they_are_none():
    check_finite("f", "x", -3)
    for value in (float("nan"), float("-inf")):
        with pytest.raises(ValueError, match=f"f: expected finite `x`, got {value}"):
            check_finite("f", "x", value)
    with pytest.raises(TypeError, match="f: expected `x` to be a number, got 'y'"):
        check_finite("f", "x", "y")


def test_tensors_have_a_shape_a_dtype_and_one_device():
    logits, labels = torch.zeros(2, 3), torch.zeros(2, dtype=torch.int64)
    check_tensors("f", logits=(logits, "N C"), labels=(labels, "N"))
    for error, message, tensors in [
        (ValueError, r"`labels` of shape \(N=2,\), got \(1,\)", {"labels": (labels[:1], "N")}),
        (TypeError, "`labels` of dtype torch.int64", {"labels": (labels.int(), "N")}),
        (TypeError, "`targets` of a floating-point dtype", {"targets": (labels, "N")}),
        (ValueError, r"`labels` on the device of `logits` \(cpu\), got meta",
         {"labels": (labels.to("meta"), "N")}),
        (TypeError, "`targets` to be a tensor, got int", {"targets": (3, "N")}),
    ]:  # fmt: skip
        with pytest.raises(error, match="f: expected " + message):
            check_tensors("f", logits=(logits, "N C"), **tensors)


@pytest.mark.parametrize("shape", [(2, 32, 32, 3), (2, 20, 28, 1)])
def test_channels_come_first(shape):
    with pytest.raises(
        ValueError, match=r"f: expected `images` of shape \(N, C, H, W\), got \(2, "
    ):
        check_channels_first("f", torch.zeros(shape))
    check_channels_first("f", torch.zeros(shape).permute(0, 3, 1, 2))


@pytest.mark.parametrize("count", [[0, -1], [2**48, 1]])
def test_counts_that_cannot_be_are_named(count):
    with pytest.raises(RuntimeError, match="f: expected state that was loaded or reset"):
        check_written("f", torch.tensor(count))
    check_written("f", torch.tensor([0, 2**48 - 1]))
    check_written("f", torch.tensor(3))


def test_what_is_not_empty_though_nothing_was_counted_is_named():
    means = torch.tensor([[1.0, 2.0], [0.0, 0.0]])
    check_written("f", torch.tensor([1, 0]), means)
    for count, empty in (([0, 1], means), ([1, 0], means * torch.nan)):
        with pytest.raises(RuntimeError, match="f: expected state that was loaded or reset"):
            check_written("f", torch.tensor(count), empty)
