"""Tests of semaug.networks.resnet_cifar."""

import pytest
import timm
import torch
from torch import nn
from torch.testing import assert_close

from semaug.networks import NETWORKS, CifarResNet

DEPTHS = (8, 20, 32, 44, 56, 110)


def create(depth=8, **kwargs):
    torch.manual_seed(0)
    return timm.create_model(f"resnet{depth}_cifar", **kwargs)


def num_parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


def parameters_by_hand(depth, num_classes, shortcut):
    """Add up convolutions, scale and shift of batch norms, and the classifier."""
    total = 3 * 16 * 9 + 2 * 16
    channels = 16
    for width in (16, 32, 64):
        for _ in range((depth - 2) // 6):
            total += (channels + width) * width * 9 + 2 * 2 * width
            if channels != width and shortcut == "projection":
                total += channels * width + 2 * width
            channels = width
    return total + 64 * num_classes + num_classes


@pytest.mark.parametrize("shortcut", ["projection", "pad"])
@pytest.mark.parametrize("depth", DEPTHS)
def test_parameters_are_those_counted_by_hand(depth, shortcut):
    for num_classes in (10, 100):
        network = create(depth, num_classes=num_classes, shortcut=shortcut)
        assert num_parameters(network) == parameters_by_hand(depth, num_classes, shortcut)


@pytest.mark.parametrize("depth", DEPTHS)
def test_depth_counts_the_layers_with_weights(depth):
    network = create(depth, shortcut="pad")
    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(layers) == depth
    assert f"resnet{depth}_cifar" in NETWORKS


def test_convolutions_start_with_the_variance_of_the_source():
    weight = create(20).layer3[1].conv1.weight
    assert_close(weight.std().item(), (2 / (9 * 64)) ** 0.5, rtol=0.02, atol=0)


def test_the_padded_shortcut_subsamples_and_adds_empty_channels():
    block = create(shortcut="pad").layer2[0]
    image = torch.randn(2, 16, 7, 5)
    short = block.shortcut(image)
    assert_close(short[:, :16], image[:, :, ::2, ::2])
    assert_close(short[:, 16:], torch.zeros(2, 16, 4, 3))
    assert block(image).shape == (2, 32, 4, 3)


def test_an_unknown_shortcut_is_refused():
    with pytest.raises(ValueError, match="one of 'projection', 'pad'; got 'A'"):
        create(shortcut="A")


def test_a_size_below_one_is_refused():
    with pytest.raises(ValueError, match="`blocks_per_stage` >= 1, got 0"):
        CifarResNet(0)
    with pytest.raises(TypeError, match=r"`in_chans` to be an int, got 3\.0"):
        CifarResNet(1, in_chans=3.0)
