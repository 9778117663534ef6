"""Mixup of timm smooths its own targets, so that every class has a little of each sample."""

import pytest
import torch
from torch.testing import assert_close

from semaug import isda_loss
from semaug.losses import _references, isda
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


@pytest.mark.parametrize("name", KINDS)
def test_smoothing_of_mixup_is_that_of_the_loss(normal, name, either_path):
    eye = torch.eye(12)
    mixed = 0.3 * eye[[0, 1, 2, 3, 4, 5]] + 0.7 * eye[[6, 7, 8, 9, 0, 1]]
    low, high = 0.1 / 12, 0.9 + 0.1 / 12  # as timm does it, in float32
    one_hot = torch.where(eye > 0, high, low)
    by_timm = 0.3 * one_hot[[0, 1, 2, 3, 4, 5]] + 0.7 * one_hot[[6, 7, 8, 9, 0, 1]]
    logits, weight, estimator = normal(6, 12).float(), normal(12, 3).float(), estimator_of(name, 12)
    losses = [
        isda_loss(logits, targets, weight, estimator.float(), strength=0.8, label_smoothing=e)
        for targets, e in ((by_timm, 0.0), (mixed, 0.1))
    ]
    assert_close(*losses)


def test_smoothed_mixtures_have_two_classes(normal):
    one_hot = torch.where(torch.eye(12) > 0, 0.9 + 0.1 / 12, 0.1 / 12)
    targets, part = isda._without_even_part(0.3 * one_hot[:6] + 0.7 * one_hot[6:])
    assert_close(part, torch.full((6, 1), 0.1))
    assert (targets > 0).sum(dim=1).tolist() == [2] * 6
    assert_close(targets.sum(dim=1), torch.ones(6))


def test_even_targets_stay_whole(normal):
    targets, part = isda._without_even_part(torch.full((2, 4), 0.25))
    assert part.tolist() == [[0.0], [0.0]]
    assert targets.tolist() == [[0.25] * 4] * 2


def test_it_takes_n_times_c_exponentials_and_not_n_times_c_squared(normal, smoothed, monkeypatch):
    """On a CPU: no sum over classes is made for each pair of a sample and a class."""
    monkeypatch.setattr(_references, "reference_logsumexp", None)
    loss = isda_loss(normal(6, 12), smoothed, normal(12, 3), normal(12, 3) ** 2, strength=0.8)
    assert loss.isfinite()
