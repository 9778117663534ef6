"""Tests of semaug.networks.wide_resnet_cifar."""

import pytest
import torch
import torch.nn.functional as F
from pytorchcv.models.wrn_cifar import get_wrn_cifar
from torch import nn
from torch.testing import assert_close

from semaug.networks.wide_resnet_cifar import CifarWideResNet, PreActivationBlock
from tests.networks.twins import assert_same_logits


@pytest.mark.parametrize(("depth", "width"), [(10, 1), (16, 2)])
def test_another_implementation_gives_the_same_logits(depth, width):
    torch.manual_seed(0)
    network = CifarWideResNet((depth - 4) // 6, width)
    assert_same_logits(network, get_wrn_cifar(num_classes=10, blocks=depth, width_factor=width))


def test_depth_counts_the_convolutions_and_with_them_the_shortcuts():
    convolutions = [m for m in CifarWideResNet(4, 2).modules() if isinstance(m, nn.Conv2d)]
    assert len(convolutions) == 28


def test_a_block_adds_its_input_as_it_was(normal):
    block = PreActivationBlock(4, 4, 1).double().eval()
    images = normal(2, 4, 5, 5)
    before = images.clone()
    residual = F.conv2d(images.clamp(min=0) / (1 + 1e-5) ** 0.5, block.conv1.weight, padding=1)
    residual = F.conv2d(residual.clamp(min=0) / (1 + 1e-5) ** 0.5, block.conv2.weight, padding=1)
    assert_close(block(images), before + residual)
    assert_close(images, before, rtol=0, atol=0)


def test_a_block_of_other_channels_adds_what_is_normalized(normal):
    block = PreActivationBlock(4, 6, 2).double().eval()
    nn.init.zeros_(block.conv2.weight)
    images = normal(2, 4, 5, 5)
    active = images.clamp(min=0) / (1 + 1e-5) ** 0.5
    assert_close(block(images), F.conv2d(active, block.shortcut.weight, stride=2))


def test_dropout_acts_between_the_convolutions_of_each_block():
    network = CifarWideResNet(2, 1, block_drop_rate=0.3)
    drops = [name for name, m in network.named_modules() if isinstance(m, nn.Dropout) and m.p > 0]
    assert drops == [f"layer{i}.{j}.drop" for i in (1, 2, 3) for j in (0, 1)]
    block = network.layer1[1]
    seen = {}
    block.act2.register_forward_hook(lambda *call: seen.update(active=call[2].clone()))
    block.conv2.register_forward_pre_hook(lambda _, inputs: seen.update(dropped=inputs[0]))
    block(torch.randn(2, 16, 8, 8))
    active, dropped = seen["active"], seen["dropped"]
    kept = dropped != 0
    assert_close(dropped[kept], active[kept] / 0.7)
    assert 0.6 < kept.sum() / (active != 0).sum() < 0.8


def test_weights_start_as_in_the_code_of_the_source():
    torch.manual_seed(0)
    network = CifarWideResNet(1, 4)
    weight = network.layer3[0].conv1.weight
    assert_close(weight.std().item(), (2 / (9 * 256)) ** 0.5, rtol=0.02, atol=0)
    assert not network.fc.bias.any()


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="`width` >= 1, got 0"):
        CifarWideResNet(1, 0)
    with pytest.raises(TypeError, match="`blocks_per_stage` to be an int, got '4'"):
        CifarWideResNet("4", 1)
    with pytest.raises(ValueError, match="probability has to be between 0 and 1"):
        CifarWideResNet(1, 1, block_drop_rate=1.5)
