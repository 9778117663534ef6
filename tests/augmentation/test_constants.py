"""Tests of semaug.augmentation.constants."""

import pytest
import torch

from semaug.augmentation.constants import computed_once


@pytest.fixture
def calls():
    return []


@pytest.fixture
def squares(calls):
    @computed_once
    def squares(count):
        """Return the first squares."""
        calls.append(count)
        return torch.arange(count) ** 2

    return squares


def test_computes_once_for_each_argument(squares, calls):
    assert squares(3).tolist() == squares(3).tolist() == [0, 1, 4]
    assert squares(4).tolist() == [0, 1, 4, 9]
    assert calls == [3, 4]
    assert squares.__doc__ == "Return the first squares."


def test_a_compiled_function_takes_the_result_for_a_constant(squares, calls):
    def add(numbers):
        return numbers + squares(3)

    compiled = torch.compile(add, fullgraph=True, backend="eager")
    for _ in range(3):
        assert compiled(torch.ones(3)).tolist() == [1, 2, 5]
    assert calls == [3]
