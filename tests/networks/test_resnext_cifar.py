"""Tests of semaug.networks.resnext_cifar."""

import pytest
import torch
from pytorchcv.models.resnext_cifar import get_resnext_cifar
from torch import nn
from torch.testing import assert_close

from semaug.networks.resnext_cifar import CifarResNeXt
from tests.networks.twins import assert_same_logits


@pytest.fixture
def network():
    torch.manual_seed(0)
    return CifarResNeXt(1, cardinality=4, base_width=8)


def test_another_implementation_gives_the_same_logits():
    torch.manual_seed(0)
    network = CifarResNeXt(2, cardinality=2, base_width=4)
    other = get_resnext_cifar(num_classes=10, blocks=20, cardinality=2, bottleneck_width=4)
    assert_same_logits(network, other)


def test_groups_double_their_channels_from_stage_to_stage(network):
    convolutions = [stage[0].conv2 for stage in network.stages()]
    assert [conv.groups for conv in convolutions] == [4, 4, 4]
    assert [conv.out_channels // conv.groups for conv in convolutions] == [8, 16, 32]
    assert [conv.stride for conv in convolutions] == [(1, 1), (2, 2), (2, 2)]


def test_depth_counts_convolutions_without_shortcuts_and_the_classifier():
    layers = [
        name
        for name, module in CifarResNeXt(3, 1, 1).named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear) and "shortcut" not in name
    ]
    assert len(layers) == 29


def test_weights_start_as_in_the_code_of_the_source(network):
    weight = network.layer2[0].conv2.weight  # fan-out of all groups
    assert_close(weight.std().item(), (2 / (9 * 64)) ** 0.5, rtol=0.02, atol=0)
    assert not network.fc.bias.any()


def test_sizes_below_one_are_refused():
    with pytest.raises(ValueError, match="`cardinality` >= 1, got 0"):
        CifarResNeXt(1, 0, 4)
    with pytest.raises(TypeError, match=r"`base_width` to be an int, got 4\.0"):
        CifarResNeXt(1, 2, 4.0)
