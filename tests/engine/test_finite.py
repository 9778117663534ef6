"""Tests of semaug.engine.finite."""

import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from semaug.engine.finite import non_finite_weight

ONE = SimpleNamespace(sum_tensor=torch.clone)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_the_first_weight_that_is_not_finite_is_named(value):
    network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    assert non_finite_weight([network, {"state": value}], ONE) is None
    with torch.no_grad():
        network[1].weight[0, 0] = value
        network[1].bias[0] = value
    assert non_finite_weight([object(), network], ONE) == "1.weight"


def test_a_weight_of_another_process_counts():
    others = SimpleNamespace(sum_tensor=lambda bad: bad + torch.tensor([0, 1]))
    assert non_finite_weight([nn.Linear(2, 2)], others) == "bias"


def test_a_run_may_have_no_weights():
    assert non_finite_weight([object()], ONE) is None
