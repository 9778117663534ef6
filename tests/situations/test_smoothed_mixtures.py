"""Mixup of timm smooths its own targets, so that every class has a little of each sample."""

import pytest
import torch
from torch.testing import assert_close

from semaug import isda_loss
from semaug.losses import _references
from tests.losses.conftest import KINDS, estimator_of
from tests.references.losses import isda_by_loops

# N=6, C=12, A=3.


@pytest.fixture
def smoothed():
    """(1 - e) times a mixture of two classes, plus e / C."""
    eye = torch.eye(12, dtype=torch.float64)
    mixed = 0.3 * eye[[0, 1, 2, 3, 4, 5]] + 0.7 * eye[[6, 7, 8, 9, 0, 1]]
    return 0.9 * mixed + 0.1 / 12


@pytest.mark.parametrize("name", KINDS)
def test_the_loss_is_the_mean_of_the_bounds_of_all_classes(normal, name, smoothed, either_path):
    logits, weight, estimator = normal(6, 12), normal(12, 3), estimator_of(name, 12)
    leaves = logits.requires_grad_(), weight.requires_grad_(), *estimator.parameters()
    options = {"strength": 0.8, "reduction": "none"}
    actual = isda_loss(*leaves[:1], smoothed, leaves[1], estimator, **options)
    expected = isda_by_loops(*leaves[:1], smoothed, leaves[1], estimator.dense(), **options)
    assert_close(actual, expected)
    found, wanted = (
        torch.autograd.grad(x.square().sum(), leaves, allow_unused=True) for x in (actual, expected)
    )
    assert_close(found[:2], wanted[:2])


def test_it_takes_n_times_c_exponentials_and_not_n_times_c_squared(normal, smoothed, monkeypatch):
    """On a CPU: no sum over classes is made for each pair of a sample and a class."""
    monkeypatch.setattr(_references, "reference_logsumexp", None)
    loss = isda_loss(normal(6, 12), smoothed, normal(12, 3), normal(12, 3) ** 2, strength=0.8)
    assert loss.isfinite()
