"""Models with more than one classifier: auxiliary ones, averaged ones."""

import pytest
import timm
import torch
import torchvision

from semaug.features import attach, with_features
from semaug.losses import ISDALoss

IMAGES, LABELS = torch.randn(2, 3, 75, 75), torch.tensor([0, 1])


@pytest.fixture(scope="module")
def googlenet():
    return torchvision.models.googlenet(num_classes=3, init_weights=False)


def test_auxiliary_logits_are_named(googlenet):
    message = r"got GoogLeNetOutputs with `logits` and `aux_logits2`, `aux_logits1`, which would"
    with pytest.raises(ValueError, match="with_features: expected logits of one .* " + message):
        with_features(googlenet)(IMAGES)
    criterion = attach(googlenet, ISDALoss(3, 1024, strength=0.5, covariance="diagonal"))
    output = googlenet(IMAGES)
    with pytest.raises(ValueError, match="attach: expected logits of one classifier, " + message):
        criterion(output, LABELS)
    loss = criterion(output.logits, LABELS)
    (loss + output.aux_logits1.square().mean()).backward()
    assert criterion.isda.step == 1


def test_averaged_heads_are_named_and_one_of_them_can_be_chosen():
    model = timm.create_model(
        "deit_tiny_distilled_patch16_224", img_size=32, depth=1, num_classes=3
    )
    images = torch.randn(2, 3, 32, 32)
    with pytest.raises(ValueError, match="it is made of those of 'head', 'head_dist'; name the"):
        with_features(model, example_images=images)
    model.set_distilled_training(True)
    criterion = attach(model, ISDALoss(3, 192, strength=0.5, covariance="diagonal"), "head")
    logits, _ = model(images)
    criterion(logits, LABELS).backward()
    assert criterion.isda.step == 1
    with pytest.raises(TypeError, match="got tuple"):
        criterion(model(images), LABELS)
