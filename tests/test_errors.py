"""Tests of semaug.errors."""

import pytest

from semaug.errors import UserError, as_user_error


def test_the_first_line_of_an_error_is_kept_behind_the_context():
    turned = pytest.raises(UserError, match=r"^recipe: too small$")
    with turned as caught, as_user_error("recipe: ", RuntimeError, ValueError):
        raise RuntimeError("too small\nand a stack of details")
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_an_error_without_words_is_named_by_its_type():
    with (
        pytest.raises(UserError, match="recipe: AssertionError"),
        as_user_error("recipe: ", AssertionError),
    ):
        raise AssertionError


def test_errors_for_users_stay_as_they_are():
    with pytest.raises(UserError, match=r"^known$"), as_user_error("recipe: ", ValueError):
        raise UserError("known")


def test_other_errors_stay_as_they_are():
    with pytest.raises(KeyError), as_user_error("recipe: ", ValueError):
        raise KeyError("x")
