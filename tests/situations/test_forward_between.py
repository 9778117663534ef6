"""A forward in evaluation mode between the training forward and the loss.

Pseudo-labels, a teacher's view, or a look at validation images by the model that is trained.
"""

import pytest
import torch
from torch.nn.utils.parametrizations import weight_norm
from torch.testing import assert_close

from semaug.features import attach, with_features
from semaug.losses import ISDALoss
from tests.features.networks import NUM_CLASSES, NUM_FEATURES, small_batch, small_network

IMAGES, LABELS = small_batch()


def isda_loss():
    return ISDALoss(NUM_CLASSES, NUM_FEATURES, strength=5.0, ramp_steps=10)


def look(model):
    """Evaluate other images, as many."""
    model.eval()
    with torch.no_grad():
        logits = model(IMAGES + 1)
    model.train()
    return logits


def test_statistics_ramp_and_gradients_are_those_of_the_training_forward():
    model, quiet = small_network(), small_network()
    criterion, reference = attach(model, isda_loss()), attach(quiet, isda_loss())
    for _ in range(3):
        logits = model(IMAGES)
        look(model)
        criterion(logits, LABELS).backward()
        reference(quiet(IMAGES), LABELS).backward()
    assert criterion.isda.step == 3
    assert_close(criterion.state_dict(), reference.state_dict())
    assert_close([p.grad for p in model.parameters()], [p.grad for p in quiet.parameters()])


@pytest.mark.parametrize("trained_first", [True, False])
def test_both_losses_can_follow_in_any_order(trained_first):
    model = small_network()
    criterion = attach(model, isda_loss())
    logits = model(IMAGES)
    seen = look(model)
    for _ in range(2):
        criterion(logits if trained_first else seen, LABELS)
        trained_first = not trained_first
    assert criterion.isda.step == 1
    assert criterion.isda.estimator.count.sum() == len(IMAGES)


def test_the_weight_of_with_features_stays_that_of_the_training_forward():
    model = small_network()
    model[5] = weight_norm(model[5])
    net = with_features(model)
    logits, features = net(IMAGES)
    weight = net.weight
    look(net)
    assert net.weight is not None
    assert_close(net.weight.data_ptr(), weight.data_ptr())
    assert_close(features @ net.weight.T + model[5].bias, logits)


class Opaque(torch.autograd.Function):
    """What some wrappers put behind a model: a copy, of which the graph does not tell."""

    @staticmethod
    def forward(ctx, logits):
        return logits.clone()

    @staticmethod
    def backward(ctx, grad):
        return grad


@pytest.mark.parametrize("trained_first", [True, False])
def test_forwards_are_told_apart_behind_a_wrapper_that_hides_them(trained_first):
    model = small_network()
    criterion = attach(model, isda_loss())
    trained = Opaque.apply(model(IMAGES))
    model.eval()
    with torch.no_grad():
        evaluated = Opaque.apply(model(IMAGES + 1))
    for _ in range(2):
        criterion(trained if trained_first else evaluated, LABELS)
        trained_first = not trained_first
    assert criterion.isda.step == 1
