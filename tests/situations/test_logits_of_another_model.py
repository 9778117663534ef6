"""Logits that the tapped classifier did not make, or that were changed after it.

Co-teaching with two models, logit adjustment, a softmax too early, a temperature.
"""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from semaug.features import attach, with_features
from semaug.features.recognize import LateCheck
from semaug.losses import ISDALoss
from tests.features.networks import NUM_CLASSES, NUM_FEATURES, small_batch, small_network

IMAGES, LABELS = small_batch()


def isda_loss():
    return ISDALoss(NUM_CLASSES, NUM_FEATURES, strength=5.0)


@pytest.fixture
def attached():
    """A network and its criterion, after one good step."""
    model = small_network()
    criterion = attach(model, isda_loss())
    criterion(model(IMAGES), LABELS)
    return model, criterion


@pytest.mark.parametrize("grad", [True, False])
def test_logits_of_another_model_are_refused(attached, grad):
    model, criterion = attached
    with torch.set_grad_enabled(grad):
        model(IMAGES)
        with pytest.raises(RuntimeError, match="got others, such as those of an earlier one or of"):
            criterion(small_network(seed=1)(IMAGES), LABELS)


CHANGES = {
    "scaled": lambda logits: logits * 1.0,
    "softmax": lambda logits: logits.softmax(1),
    "adjusted": lambda logits: logits + torch.zeros(NUM_CLASSES),
    "in place": lambda logits: logits.mul_(1.0),
    "shuffled": lambda logits: logits[torch.randperm(len(logits))],
    "other classes": lambda logits: logits.flip(1),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_changed_logits_are_refused(attached, change):
    model, criterion = attached
    with pytest.raises(ValueError, match="something is added, averaged, scaled or cut behind it"):
        criterion(change(model(IMAGES)), LABELS)


COPIES = {
    "double": lambda logits: logits.double(),
    "bfloat16 and back": lambda logits: logits.bfloat16().float(),
    "copy": lambda logits: logits.clone(),
    "reshaped": lambda logits: logits.unflatten(1, (2, -1)).flatten(1),
    "pixels of one": lambda logits: logits[:, :, None, None].clone().squeeze((2, 3)),
    "without graph": lambda logits: logits.detach(),
    "without graph, double": lambda logits: logits.detach().double(),
}


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES.keys())
@pytest.mark.parametrize("grad", [True, False])
def test_views_and_copies_are_recognized(attached, copied, grad):
    model, criterion = attached
    with torch.set_grad_enabled(grad):
        logits = copied(model(IMAGES))
        criterion(logits, LABELS)
    assert criterion.isda.step == 2


def test_a_compiled_cast_is_recognized_by_value():
    torch.compiler.reset()

    class Cast(nn.Module):
        def __init__(self, scale):
            super().__init__()
            self.layers, self.scale = small_network(), scale

        def forward(self, images):
            return (self.layers(images) * self.scale).double()

    for scale in (1, 2):
        model = Cast(scale)
        compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
        criterion = attach(compiled, isda_loss(), "layers.5")
        if scale == 1:
            criterion(compiled(IMAGES), LABELS)
            assert criterion.isda.step == 1
        else:
            with pytest.raises((RuntimeError, ValueError), match="attach: expected"):
                criterion(compiled(IMAGES), LABELS)


class Event:
    """An event of a GPU that is over or not."""

    def __init__(self, over):
        self.over = over

    def query(self):
        return self.over


def test_what_a_gpu_compares_is_said_when_it_is_known(attached):
    model, criterion = attached
    assert isinstance(criterion._late, LateCheck)
    criterion._late._pending = Event(over=False), torch.tensor(False), RuntimeError("late")
    criterion(model(IMAGES), LABELS)
    criterion._late._pending = Event(over=True), torch.tensor(True), RuntimeError("late")
    criterion(model(IMAGES), LABELS)
    criterion._late._pending = Event(over=True), torch.tensor(False), RuntimeError("late")
    with pytest.raises(RuntimeError, match="late"):
        criterion(model(IMAGES), LABELS)
    criterion(model(IMAGES), LABELS)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_says_it_in_a_later_call(attached):
    model, criterion = attached
    model.cuda()
    with torch.no_grad():
        model(IMAGES.cuda())
        criterion(torch.zeros(len(IMAGES), NUM_CLASSES, device="cuda"), LABELS.cuda())
        torch.cuda.synchronize()
        with pytest.raises(RuntimeError, match="got others"):
            criterion(model(IMAGES.cuda()), LABELS.cuda())


def test_with_features_sees_it_as_well():
    model = small_network()
    net = with_features(model)
    assert_close(net(IMAGES)[0], model(IMAGES))
    model.append(nn.Softmax(1))
    with pytest.raises(ValueError, match="something is added, averaged, scaled or cut behind it"):
        net(IMAGES)
