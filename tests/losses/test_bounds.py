"""Every bound is one: it is compared with a Monte Carlo estimate of what it bounds.

Each estimate has 20 000 draws; bounds may lie 4 standard errors below it. The noise comes
from matrices, by another way than in semaug.
"""

import pytest
import torch
import torch.nn.functional as F

from semaug import (
    expected_loss,
    isda_loss,
    multi_label_isda_loss,
    semantic_consistency_loss,
)
from tests.references.losses import estimate, mean_covariance, noisy_logits

# N=6, C=4, A=3, M draws.

DRAWS = 20_000
LABELS = torch.tensor([0, 1, 2, 3, 3, 1])
SOFT = torch.linspace(0, 7, 24, dtype=torch.float64).view(6, 4).cos().mul(2).softmax(dim=1)
PROBS = SOFT.flip(0)
MULTI = torch.eye(4, dtype=torch.float64)[LABELS] + torch.eye(4, dtype=torch.float64)[2]
MULTI = MULTI.clamp(max=1)
MULTI[5] = torch.tensor([0.0, 0.3, 0.0, 0.8])


def draws_of(logits, labels, weight, covariance, strength):
    generator = torch.Generator().manual_seed(0)
    return noisy_logits(logits, weight, covariance[labels], strength, DRAWS, generator)


def cross_entropies(logits, labels, **options):
    """(M, N) for logits (M, N, C)."""
    losses = F.cross_entropy(
        logits.flatten(0, 1), labels.repeat(len(logits)), reduction="none", **options
    )
    return losses.view(len(logits), -1)


def ids(logits, weight, covariance, strength):
    draws = draws_of(logits, LABELS, weight, covariance, strength)
    bound = isda_loss(logits, LABELS, weight, covariance, strength=strength)
    return bound, cross_entropies(draws, LABELS)


def smoothed(logits, weight, covariance, strength):
    draws = draws_of(logits, LABELS, weight, covariance, strength)
    bound = isda_loss(logits, LABELS, weight, covariance, strength=strength, label_smoothing=0.3)
    return bound, cross_entropies(draws, LABELS, label_smoothing=0.3)


def soft(logits, weight, covariance, strength):
    """A sample is of class k, noise included, with probability t[k]."""
    bound = isda_loss(logits, SOFT, weight, covariance, strength=strength)
    losses = torch.zeros(DRAWS, 6, dtype=torch.float64)
    for k in range(4):
        draws = draws_of(logits, torch.full((6,), k), weight, covariance, strength)
        losses += SOFT[:, k] * cross_entropies(draws, torch.full((6,), k))
    return bound, losses


def soft_and_smoothed(logits, weight, covariance, strength):
    bound = isda_loss(logits, SOFT, weight, covariance, strength=strength, label_smoothing=0.3)
    losses = torch.zeros(DRAWS, 6, dtype=torch.float64)
    for k in range(4):
        labels = torch.full((6,), k)
        draws = draws_of(logits, labels, weight, covariance, strength)
        losses += SOFT[:, k] * cross_entropies(draws, labels, label_smoothing=0.3)
    return bound, losses


def multi_label(logits, weight, covariance, strength):
    own = torch.stack([mean_covariance(t, covariance) for t in MULTI])
    generator = torch.Generator().manual_seed(0)
    draws = noisy_logits(logits, weight, own, strength, DRAWS, generator)
    bound = multi_label_isda_loss(logits, MULTI, weight, covariance, strength=strength)
    targets = MULTI.expand_as(draws)
    return bound, F.binary_cross_entropy_with_logits(draws, targets, reduction="none")


def consistency(reference):
    def losses(logits, weight, covariance, strength):
        draws = draws_of(logits, PROBS.argmax(dim=1), weight, covariance, strength)
        bound = semantic_consistency_loss(
            logits, weight, covariance, strength=strength, probs=PROBS, reference=reference
        )
        return bound, -(draws.log_softmax(dim=2) * PROBS).sum(dim=2)

    return losses


LOSSES = {
    "ids": ids,
    "smoothed": smoothed,
    "soft": soft,
    "soft and smoothed": soft_and_smoothed,
    "multi-label": multi_label,
    "consistency, every": consistency("every"),
    "consistency, pseudo-label": consistency("pseudo_label"),
}


@pytest.fixture
def problem(normal):
    root = normal(4, 3, 3) / 2
    return normal(6, 4) * 2, normal(4, 3), root @ root.mT


@pytest.mark.parametrize("name", LOSSES)
def test_bounds_the_expected_loss_and_meets_it_for_weak_noise(problem, name):
    gaps = []
    for strength in (1.0, 0.1, 0.01):
        bound, losses = LOSSES[name](*problem, strength)
        mean, error = estimate(losses)
        gaps.append(bound.item() - mean)
        assert gaps[-1] > -4 * error
    assert gaps[0] > gaps[1] > gaps[2]
    assert abs(gaps[2]) < 0.02 * max(gaps[0], 1)


@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.3}])
def test_the_expected_loss_is_what_is_bounded(problem, estimator, options):
    logits, weight, _ = problem
    arguments = logits, LABELS, weight, estimator
    generator = torch.Generator().manual_seed(3)
    mean, error = expected_loss(
        *arguments, strength=0.5, num_samples=2000, generator=generator, **options
    )
    draws = draws_of(logits, LABELS, weight, estimator.dense().detach(), 0.5)
    other, other_error = estimate(cross_entropies(draws, LABELS, **options))
    assert abs(mean.item() - other) < 4 * (error.item() + other_error)
    assert isda_loss(*arguments, strength=0.5, **options) > mean - 4 * error


def test_one_reference_is_the_tighter_bound_for_sure_predictions(problem):
    _, weight, covariance = problem
    probs = torch.tensor([[0.9, 0.05, 0.03, 0.02]], dtype=torch.float64)
    every, one = (
        semantic_consistency_loss(
            probs.log(), weight, covariance, strength=0.5, probs=probs, reference=reference
        )
        for reference in ("every", "pseudo_label")
    )
    assert one < every
