"""Tests that the features and the classifier of common networks are found."""

import pytest
import timm
import torch
import torch.nn.functional as F
import torchvision
import transformers
from torch import nn
from torch.testing import assert_close

import semaug.networks  # noqa: F401  (registers with timm)
from semaug.features import attach, with_features
from semaug.losses import ISDALoss

NUM_CLASSES = 7

TIMM = {  # the smallest of each family, at a small image size
    "resnet10t": 32,
    "resnext26ts": 32,
    "seresnet18": 32,
    "densenet121": 32,
    "mobilenetv2_035": 32,
    "convnext_atto": 32,
    "test_vit": 160,
    "dla46_c": 32,  # ends in a 1x1 convolution
    "dpn48b": 32,  # as well
    "resnet20_cifar": 32,
}
TORCHVISION = ("resnet18", "densenet121", "mobilenet_v2", "mobilenet_v3_small")


def vit_of_another_size():
    """Its configuration declares images that it does not accept."""
    return timm.create_model(
        "vit_tiny_patch16_224", img_size=32, depth=2, num_classes=NUM_CLASSES
    ), torch.randn(3, 3, 32, 32)


def hugging_face_vit():
    config = transformers.ViTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=16,
        patch_size=8,
        num_channels=1,
        num_labels=NUM_CLASSES,
    )
    return transformers.ViTForImageClassification(config), torch.randn(3, 1, 16, 16)


def hugging_face_resnet():
    config = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], num_labels=NUM_CLASSES
    )  # declares no image size
    return transformers.ResNetForImageClassification(config), torch.randn(3, 3, 32, 32)


def convolutional_classifier():
    model = nn.Sequential(
        nn.Conv2d(3, 6, 3),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Conv2d(6, NUM_CLASSES, 1),
        nn.Flatten(),
    )
    return model, torch.randn(3, 3, 8, 8)


OTHERS = (vit_of_another_size, hugging_face_vit, hugging_face_resnet, convolutional_classifier)
NAMES = [
    *(f"timm/{name}" for name in TIMM),
    *(f"torchvision/{name}" for name in TORCHVISION),
    *(build.__name__ for build in OTHERS),
]


def build(name):
    """Build the network and a batch of three images for it."""
    library, _, network = name.rpartition("/")
    if library == "timm":
        size = TIMM[network]
        return timm.create_model(network, num_classes=NUM_CLASSES), torch.randn(3, 3, size, size)
    if library == "torchvision":
        model = getattr(torchvision.models, network)(num_classes=NUM_CLASSES)
        return model, torch.randn(3, 3, 64, 64)
    return next(build for build in OTHERS if build.__name__ == name)()


@pytest.mark.parametrize("name", NAMES)
def test_features_times_weight_are_the_logits(name):
    model, images = build(name)
    net = with_features(model)  # no example: torchvision's are tried on 224 pixels
    logits, features = net(images)  # training mode, so dropout before the classifier is seen too
    assert features.shape == (3, net.num_features)
    assert net.num_classes == NUM_CLASSES
    assert net.weight.shape == (NUM_CLASSES, net.num_features)
    assert_close(F.linear(features, net.weight, net.classifier.bias), logits)


@pytest.mark.parametrize("name", NAMES)
def test_attached_loss_equals_the_loss_of_features(name):
    model, images = build(name)
    model.eval()
    net = with_features(model, example_images=images)
    labels = torch.tensor([0, 1, 1])
    isda = ISDALoss(NUM_CLASSES, net.num_features, strength=0.5, covariance="diagonal")
    isda.estimator.covariance.fill_(1.0)
    criterion = attach(model, isda, example_images=images)
    output = model(images)
    loss = criterion(getattr(output, "logits", output), labels)
    logits, features = net(images)
    assert_close(loss, isda.eval()(logits, labels, features, net.weight))


def test_logits_with_an_auxiliary_term_are_refused():
    volo = timm.create_model("volo_d1_224", img_size=64, num_classes=NUM_CLASSES)
    with pytest.raises(ValueError, match=r"with_features: expected logits features @ weight"):
        with_features(volo, example_images=torch.randn(1, 3, 64, 64))


def test_two_averaged_heads_are_refused():
    levit = timm.create_model("levit_128s", num_classes=NUM_CLASSES)
    with pytest.raises(ValueError, match=r"found no layer whose output .* 'head_dist.linear' \(7,"):
        with_features(levit)
