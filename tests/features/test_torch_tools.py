"""Tests of semaug.features under what torch does to modules: copies, checkpointing, autocast."""

import copy
import io

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel
from torch.testing import assert_close
from torch.utils.checkpoint import checkpoint

from semaug.features import attach, with_features
from semaug.losses import ISDALoss
from tests.features.networks import NUM_CLASSES, NUM_FEATURES, small_batch, small_network

IMAGES, LABELS = small_batch()


def isda_loss():
    return ISDALoss(NUM_CLASSES, NUM_FEATURES, strength=5.0)


def saved_and_loaded(module):
    buffer = io.BytesIO()
    torch.save(module, buffer)
    return torch.load(io.BytesIO(buffer.getvalue()), weights_only=False)


def captures(model):
    """What the hooks of the classifier hold."""
    return [tap.trained or tap.evaluated for tap in model[5]._forward_hooks.values()]


class Checkpointed(nn.Module):
    """Runs the layers of a Sequential from ``start`` to ``stop`` under a checkpoint."""

    def __init__(self, layers, start, stop):
        super().__init__()
        self.layers, self.start, self.stop = layers, start, stop

    def forward(self, images):
        x = self.layers[: self.start](images)
        x = checkpoint(self.layers[self.start : self.stop], x, use_reentrant=False)
        return self.layers[self.stop :](x)


class Whole(nn.Module):
    """Runs all of a model under a checkpoint."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, images):
        return checkpoint(self.model, images, use_reentrant=False)


@pytest.mark.parametrize("copied", [copy.deepcopy, AveragedModel, saved_and_loaded])
def test_a_copy_does_not_disturb_the_capture_of_the_student(copied):
    model = small_network()
    criterion = attach(model, isda_loss())
    reference = criterion(model(IMAGES), LABELS)
    criterion.isda.estimator.reset()
    logits = model(IMAGES)
    teacher = copied(model)  # with a capture at hand, that is part of a graph
    teacher(IMAGES + 1)
    assert_close(criterion(logits, LABELS), reference)


@pytest.mark.parametrize("copied", [copy.deepcopy, AveragedModel, saved_and_loaded])
def test_a_copy_returns_its_own_features(copied):
    net = with_features(small_network())
    net(IMAGES)
    teacher = copied(net)
    with torch.no_grad():
        net.weight.zero_()
    logits, features = teacher(IMAGES)
    classifier = getattr(teacher, "module", teacher).classifier
    assert classifier is not net.classifier
    assert_close(classifier(features), logits)
    assert logits.abs().sum() > 0


def test_model_and_criterion_copied_together_stay_attached():
    model = small_network()
    criterion = attach(model, isda_loss())
    model_copy, criterion_copy = copy.deepcopy((model, criterion))
    logits = model(IMAGES)
    assert_close(criterion_copy(model_copy(IMAGES), LABELS), criterion(logits, LABELS))


CHECKPOINTS = {
    "first layers": lambda layers: Checkpointed(layers, 0, 3),
    "last layers": lambda layers: Checkpointed(layers, 2, 6),
    "whole": Whole,
}


@pytest.mark.parametrize("wrap", CHECKPOINTS.values(), ids=CHECKPOINTS.keys())
def test_checkpointing_changes_neither_gradients_nor_statistics_of_attach(wrap):
    model, plain = small_network(), small_network()
    wrapped = wrap(model)
    criterion = attach(wrapped, isda_loss(), classifier=model[5], example_images=IMAGES)
    reference = attach(plain, isda_loss())
    for _ in range(2):
        criterion(wrapped(IMAGES), LABELS).backward()
        assert captures(model) == [None]  # the repetition in backward left nothing
        reference(plain(IMAGES), LABELS).backward()
    assert_close([p.grad for p in model.parameters()], [p.grad for p in plain.parameters()])
    assert_close(criterion.state_dict(), reference.state_dict())


@pytest.mark.parametrize("wrap", [*CHECKPOINTS.values(), None], ids=[*CHECKPOINTS, "around"])
def test_checkpointing_changes_neither_gradients_nor_statistics_of_with_features(wrap):
    model, plain = small_network(), with_features(small_network())
    if wrap is None:
        net = with_features(model)
        forward = Whole(net)
    else:
        forward = net = with_features(wrap(model), classifier=model[5])
    isda, reference = isda_loss(), isda_loss()
    for _ in range(2):
        logits, features = forward(IMAGES)
        (isda(logits, LABELS, features, net.weight) + features.square().sum()).backward()
        assert captures(model) == [None]
        logits, features = plain(IMAGES)
        (reference(logits, LABELS, features, plain.weight) + features.square().sum()).backward()
    assert_close([p.grad for p in model.parameters()], [p.grad for p in plain.parameters()])
    assert_close(isda.state_dict(), reference.state_dict())


def test_a_failed_forward_leaves_no_capture():
    model = small_network()
    model.append(nn.Linear(2, 2))
    net = with_features(model, classifier="5")
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        net(IMAGES)
    assert captures(model) == [None]


def test_autocast_gives_half_precision_features_and_a_float32_loss():
    model = small_network()
    net, criterion = with_features(model), attach(model, isda_loss())
    with torch.autocast("cpu", torch.bfloat16):
        logits, features = net(IMAGES)
        loss = criterion(logits, LABELS)
    loss.backward()
    assert logits.dtype == features.dtype == torch.bfloat16
    assert loss.dtype == criterion.isda.estimator.covariance.dtype == torch.float32
    assert model[5].weight.grad.dtype == torch.float32
