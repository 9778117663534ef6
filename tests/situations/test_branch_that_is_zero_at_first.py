"""Something beside or behind the classifier that changes nothing at first.

LoRA on the classifier, a gate, a learned temperature, ReZero: logits are those of the classifier
until the first step, and others afterwards.
"""

import pytest
import torch
from torch import nn

from semaug.features import attach, with_features
from semaug.losses import ISDALoss
from tests.features.networks import NUM_CLASSES, NUM_FEATURES

IMAGES, LABELS = torch.randn(6, 3, 2, 2), torch.arange(6) % NUM_CLASSES


class Adapted(nn.Module):
    def __init__(self, in_place):
        super().__init__()
        self.base = nn.Linear(NUM_FEATURES, NUM_CLASSES)
        self.down = nn.Linear(NUM_FEATURES, 2, bias=False)
        self.up = nn.Linear(2, NUM_CLASSES, bias=False)
        nn.init.zeros_(self.up.weight)
        self.in_place = in_place

    def forward(self, features):
        logits, low_rank = self.base(features), self.up(self.down(features))
        return logits.add_(low_rank) if self.in_place else logits + low_rank


class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.base, self.scale = nn.Linear(NUM_FEATURES, NUM_CLASSES), nn.Parameter(torch.ones(()))

    def forward(self, features):
        return self.base(features) * self.scale


HEADS = {
    "LoRA": lambda: Adapted(in_place=False),
    "LoRA in place": lambda: Adapted(in_place=True),
    "temperature": Scaled,
    "gate": lambda: nn.Sequential(nn.Linear(NUM_FEATURES, NUM_CLASSES), nn.Hardtanh(-1e9, 1e9)),
}


def model_of(head):
    return nn.Sequential(nn.Flatten(), nn.Linear(12, NUM_FEATURES), HEADS[head]())


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("reach", [with_features, attach], ids=lambda f: f.__name__)
def test_it_is_refused_by_the_search(head, reach):
    isda = [ISDALoss(NUM_CLASSES, NUM_FEATURES, strength=0.5)] if reach is attach else []
    with pytest.raises(ValueError, match="found no layer whose output is the output of the model"):
        reach(model_of(head), *isda, example_images=IMAGES)


@pytest.mark.parametrize("head", HEADS)
def test_it_is_refused_by_the_first_loss_if_the_classifier_was_named(head):
    model = model_of(head)
    classifier = "2.0" if head == "gate" else "2.base"
    criterion = attach(model, ISDALoss(NUM_CLASSES, NUM_FEATURES, strength=0.5), classifier)
    with pytest.raises(ValueError, match="something is added, averaged, scaled or cut behind it"):
        criterion(model(IMAGES), LABELS)
    with pytest.raises(ValueError, match="something is added, averaged, scaled or cut behind it"):
        with_features(model, classifier)(IMAGES)


def test_a_branch_that_was_added_later_is_noticed():
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, NUM_FEATURES), nn.Linear(NUM_FEATURES, 4))
    criterion = attach(model, ISDALoss(4, NUM_FEATURES, strength=0.5))
    criterion(model(IMAGES), LABELS)
    model[2].register_forward_hook(lambda module, inputs, logits: logits + 0)
    with pytest.raises(ValueError, match="something is added"):
        criterion(model(IMAGES), LABELS)


def test_adapters_of_other_layers_are_welcome():
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, NUM_FEATURES), nn.Linear(NUM_FEATURES, 4))
    adapted = Adapted(in_place=False)
    model.insert(2, nn.Sequential(adapted, nn.Linear(NUM_CLASSES, NUM_FEATURES)))
    assert with_features(model, example_images=IMAGES).classifier is model[3]
