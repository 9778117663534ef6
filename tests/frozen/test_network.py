"""Tests of semaug.frozen.network and semaug.frozen.passes."""

from copy import deepcopy

import pytest
import timm
import torch

from semaug import with_features
from semaug.frozen import Passes, on_features

PROBED = torch.zeros(2, 3, 32, 32)


@pytest.mark.parametrize(
    "name", ["resnet8_cifar", "test_vit", "test_convnext", "mobilenetv3_small_050"]
)
def test_features_give_the_logits_of_their_images(name):
    options = {"img_size": 32} if name == "test_vit" else {}
    network = timm.create_model(name, num_classes=5, **options).eval()
    net = with_features(network)
    images = torch.randn(3, 3, 32, 32)
    with torch.no_grad():
        logits, features = net(images)
        keys = [*network.state_dict()]
        on_features(network, net.classifier)
        again, same = net(features[:, :, None, None])
        copied = deepcopy(network)
        copied.get_classifier().weight.zero_()
        assert torch.equal(network(features[:, :, None, None]), again)
    torch.testing.assert_close(again, logits)
    torch.testing.assert_close(same, features)
    assert [*network.state_dict()] == keys


def test_convolutions_classify_too():
    head = torch.nn.Conv2d(4, 2, 1)
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), head, torch.nn.Flatten())
    on_features(network, head)
    features = torch.randn(3, 4, 1, 1)
    torch.testing.assert_close(
        network(features), features.flatten(1) @ head.weight.flatten(1).T + head.bias
    )


def test_each_pass_is_as_likely():
    augment = Passes().build(None)
    passes = torch.arange(4.0).expand(1000, 2, 1, 4)
    shown = augment(passes, augment.draw(1000, torch.Generator().manual_seed(0)))
    assert shown.shape == (1000, 2, 1, 1)
    assert torch.equal(shown[:, 0], shown[:, 1])
    counts = shown[:, 0].flatten().long().bincount(minlength=4)
    assert counts.min() > 200
    with pytest.raises(ValueError, match="`draws`"):
        augment(passes, torch.zeros(1000, 2))
