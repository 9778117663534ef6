"""A batch holds samples without a label: rows of zeros, or of NaN, among its soft targets."""

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from semaug import (
    AugmentationInvariantLoss,
    ISDALoss,
    MultiLabelISDALoss,
    SemanticConsistencyLoss,
    isda_loss,
)
from tests.references.losses import isda_by_loops

# N=6, C=3, A=4; the last two samples have no target.

IDS = torch.tensor([0, 1, 2, 0, -100, -100])
ZEROS = torch.eye(3, dtype=torch.float64)[[0, 1, 2, 0, 0, 0]]
ZEROS[4:] = 0
NAN = ZEROS.clone()
NAN[4], NAN[5, 1] = torch.nan, torch.nan


@pytest.fixture
def batch(normal):
    """Logits, features and weight; what has no target looks different."""
    features, weight = normal(6, 4), normal(3, 4)
    features[4:] += 100
    return features @ weight.T, features, weight


def make(**options):
    return ISDALoss(3, 4, **{"strength": 0.8, **options}).double()


def statistics(isda):
    return isda.estimator.count, isda.estimator.mean, isda.estimator.covariance


@pytest.mark.parametrize("targets", [ZEROS, NAN], ids=["zeros", "nan"])
def test_they_count_nowhere_in_the_statistics(batch, targets, either_path):
    logits, features, weight = batch
    isda, expected = make(), make()
    isda(logits, targets, features, weight)
    expected(logits, IDS, features, weight)
    assert isda.estimator.count.tolist() == [2, 1, 1]
    assert_close(statistics(isda), statistics(expected))


def test_a_batch_of_them_alone_changes_nothing(batch, either_path):
    logits, features, weight = batch
    isda = make()
    loss = isda(logits, torch.zeros_like(ZEROS), features, weight)
    assert loss == 0
    assert all(x.count_nonzero() == 0 for x in statistics(isda))


def test_pixels_without_a_target_count_nowhere(normal, either_path):
    features, weight = normal(2, 4, 3, 1), normal(3, 4)
    logits = torch.einsum("nahw,ca->nchw", features, weight)
    targets = ZEROS.view(2, 3, 1, 3).movedim(3, 1)
    isda, expected = make(), make()
    isda(logits, targets, features, weight)
    expected(logits, IDS.view(2, 3, 1), features, weight)
    assert_close(statistics(isda), statistics(expected))


def test_views_without_a_target_count_nowhere(batch, either_path):
    logits, features, weight = batch
    isda = make()
    criterion = AugmentationInvariantLoss(weight=0.0, classification=isda)
    loss = criterion(torch.stack([logits] * 2), ZEROS, torch.stack([features] * 2), weight)
    assert isda.estimator.count.tolist() == [4, 2, 2]
    expected = isda_loss(logits, ZEROS, weight, isda.estimator, strength=0.8)
    assert_close(loss, 2 * expected)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_their_loss_is_zero(batch, smoothing, either_path):
    logits, _, weight = batch
    covariance = torch.eye(4, dtype=torch.float64).repeat(3, 1, 1)
    options = {"strength": 0.8, "label_smoothing": smoothing, "reduction": "none"}
    leaves = logits.requires_grad_(), weight.requires_grad_()
    loss = isda_loss(leaves[0], ZEROS, leaves[1], covariance, **options)
    expected = isda_by_loops(*(leaves[0], ZEROS, leaves[1], covariance), **options)
    assert_close(loss, expected)
    found, wanted = (torch.autograd.grad(x.square().sum(), leaves) for x in (loss, expected))
    assert_close(found, wanted)
    assert loss[4:].tolist() == [0, 0]


def test_their_loss_is_that_of_torch(batch, either_path):
    logits, _, weight = batch
    for targets in (ZEROS, NAN):
        for reduction in ("none", "mean"):
            loss = isda_loss(logits, targets, weight, weight**2, strength=0.0, reduction=reduction)
            expected = F.cross_entropy(logits, targets, reduction=reduction)
            assert_close(loss, expected, equal_nan=True)
            assert expected.isnan().any() == (targets is NAN)


def test_torch_smooths_what_is_not_there(batch):
    """As the docstring of isda_loss says."""
    logits, _, weight = batch
    options = {"label_smoothing": 0.2, "reduction": "none"}
    ours = isda_loss(logits, ZEROS, weight, weight**2, strength=0.0, **options)
    theirs = F.cross_entropy(logits, ZEROS, **options)
    assert_close(ours[:4], theirs[:4])
    assert ours[4:].tolist() == [0, 0]
    assert (theirs[4:] > 0).all()


@pytest.mark.parametrize("reference", ["every", "pseudo_label"])
def test_predictions_that_a_teacher_masks_count_nowhere(batch, reference, either_path):
    logits, _, weight = batch
    isda = make(reduction="none")
    loss = SemanticConsistencyLoss(
        isda.estimator, strength=0.8, reference=reference, reduction="none"
    )
    assert loss(logits, weight, ZEROS)[4:].tolist() == [0, 0]
    assert loss(logits, weight, NAN)[4:].isnan().all()


def test_without_any_of_several_labels_nothing_is_augmented(batch, either_path):
    logits, features, weight = batch
    isda = MultiLabelISDALoss(3, 4, strength=0.8, reduction="none").double()
    loss = isda(logits, ZEROS, features, weight)
    assert isda.estimator.count.tolist() == [2, 1, 1]
    assert_close(loss[4:], F.binary_cross_entropy_with_logits(logits, ZEROS, reduction="none")[4:])
    isda(logits, NAN, features, weight)
    assert isda.estimator.count.tolist() == [4, 2, 2]
