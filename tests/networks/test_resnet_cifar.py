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


@pytest.mark.parametrize("name", ["resnet8_cifar", "se_resnet20_cifar"])
def test_dropout_acts_between_the_convolutions_of_each_block(name):
    network = timm.create_model(name, blocks_per_stage=2, block_drop_rate=0.3)
    drops = [name for name, m in network.named_modules() if isinstance(m, nn.Dropout) and m.p > 0]
    assert drops == [f"layer{i}.{j}.drop" for i in (1, 2, 3) for j in (0, 1)]
    block = network.layer1[1]
    seen = {}
    block.act1.register_forward_hook(lambda *call: seen.update(active=call[2].clone()))
    block.conv2.register_forward_pre_hook(lambda _, inputs: seen.update(dropped=inputs[0]))
    block(torch.randn(2, 16, 8, 8, generator=torch.Generator().manual_seed(0)))
    active, dropped = seen["active"], seen["dropped"]
    kept = dropped != 0
    assert_close(dropped[kept], active[kept] / 0.7)
    assert 0.6 < kept.sum() / (active != 0).sum() < 0.8
    assert active.min() == 0  # after the ReLU


def test_dropout_changes_neither_names_nor_initial_weights():
    plain, with_dropout = (create(block_drop_rate=rate).state_dict() for rate in (0.0, 0.3))
    assert_close(dict(with_dropout), dict(plain), rtol=0, atol=0)


def test_a_rate_beyond_one_is_refused():
    with pytest.raises(ValueError, match="probability has to be between 0 and 1"):
        create(block_drop_rate=1.5)


def test_an_unknown_shortcut_is_refused():
    with pytest.raises(ValueError, match="one of 'projection', 'pad'; got 'A'"):
        create(shortcut="A")


def test_a_size_below_one_is_refused():
    with pytest.raises(ValueError, match="`blocks_per_stage` >= 1, got 0"):
        CifarResNet(0)
    with pytest.raises(TypeError, match=r"`in_chans` to be an int, got 3\.0"):
        CifarResNet(1, in_chans=3.0)
