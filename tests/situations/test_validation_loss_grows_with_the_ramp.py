"""A trainer stops early by the validation loss, and the strength grows from epoch to epoch."""

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from semaug import (
    ClassCovariance,
    ExplicitAugmentationLoss,
    ISDALoss,
    MultiLabelISDALoss,
    SemanticConsistencyLoss,
)

# N=6, C=3, A=4.

LABELS = torch.tensor([0, 1, 2, 0, 1, 2])
ONE_HOT = F.one_hot(LABELS, 3).float()
LOSSES = {
    "isda": (ISDALoss, {"label_smoothing": 0.1}, LABELS, F.cross_entropy),
    "isda, soft targets": (ISDALoss, {}, ONE_HOT * 0.7 + 0.1, F.cross_entropy),
    "isda, learned": (ISDALoss, {"covariance": "learned"}, LABELS, F.cross_entropy),
    "explicit": (ExplicitAugmentationLoss, {"num_samples": 500}, LABELS, F.cross_entropy),
    "multi_label": (MultiLabelISDALoss, {}, ONE_HOT, F.binary_cross_entropy_with_logits),
}


@pytest.mark.parametrize("name", LOSSES)
def test_evaluation_computes_the_plain_loss_where_it_shall_not_augment(normal, name):
    make, options, labels, plain = LOSSES[name]
    losses = [
        make(3, 4, strength=0.8, augment_in_eval=augments, **options).double()
        for augments in (True, False)
    ]
    features, weight = normal(6, 4), normal(3, 4)
    arguments = features @ weight.T, labels, features, weight
    torch.manual_seed(0)
    augmented = losses[0](*arguments)
    torch.manual_seed(0)
    assert losses[1](*arguments) == augmented  # in training there is no difference
    smoothing = {k: v for k, v in options.items() if k == "label_smoothing"}
    expected = plain(arguments[0], labels.double() if labels.is_floating_point() else labels,
                     **smoothing)  # fmt: skip
    assert_close(losses[1].eval()(*arguments), expected)
    assert losses[0].eval()(*arguments) > expected + 0.01


def test_consistency_is_the_entropy_of_the_predictions(normal):
    covariance = ClassCovariance(3, 4).double()
    covariance.update(normal(6, 4), LABELS)
    loss = SemanticConsistencyLoss(covariance, strength=0.8, augment_in_eval=False).eval()
    logits = normal(6, 3)
    assert_close(loss(logits, normal(3, 4)), F.cross_entropy(logits, logits.softmax(dim=1)))


def test_the_logged_strength_is_that_of_training():
    isda = ISDALoss(3, 4, strength=0.8, augment_in_eval=False).eval()
    assert_close(isda.current_strength(), torch.tensor(0.8))
    assert "augment_in_eval=False" in repr(isda)
    assert "augment_in_eval" not in repr(ISDALoss(3, 4, strength=0.8))


def test_frozen_training_still_augments(normal):
    isda = ISDALoss(3, 4, strength=0.8, augment_in_eval=False).double()
    features, weight = normal(6, 4), normal(3, 4)
    arguments = features @ weight.T, LABELS, features, weight
    expected = isda(*arguments)
    with isda.frozen():
        assert isda(*arguments) == expected


@pytest.mark.parametrize("make", [ISDALoss, MultiLabelISDALoss])
def test_what_is_no_switch_is_named(make):
    with pytest.raises(TypeError, match="Loss: expected `augment_in_eval` to be a bool"):
        make(3, 4, strength=0.8, augment_in_eval="no")
