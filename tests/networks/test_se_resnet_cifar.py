"""Tests of semaug.networks.se_resnet_cifar."""

import pytest
import timm
import torch
from pytorchcv.models.seresnet_cifar import get_seresnet_cifar
from torch import nn
from torch.testing import assert_close

import semaug.networks  # noqa: F401  (registers with timm)
from semaug.networks.se_resnet_cifar import CifarSEResNet, SqueezeExcitation
from tests.networks.twins import assert_same_logits


def test_channels_are_weighed_by_what_their_means_say(normal):
    module = SqueezeExcitation(6, reduction=3).double()
    maps = normal(2, 6, 4, 5)
    means = maps.mean((2, 3))
    squeezed = (means @ module.fc1.weight.T).clamp(min=0)
    weights = 1 / (1 + torch.exp(-squeezed @ module.fc2.weight.T))
    assert module.fc1.weight.shape == (2, 6)
    assert_close(module(maps), maps * weights[:, :, None, None])


def test_another_implementation_without_its_biases_gives_the_same_logits():
    torch.manual_seed(0)
    network = CifarSEResNet(1)
    other = get_seresnet_cifar(num_classes=10, blocks=8, bottleneck=False)
    for module in other.modules():
        if type(module).__name__ == "SEBlock":
            module.conv1.bias = module.conv2.bias = None
    assert_same_logits(network, other)


def test_each_block_of_a_resnet_has_one():
    plain = timm.create_model("resnet20_cifar")
    network = timm.create_model("se_resnet20_cifar")
    gates = [m for m in network.modules() if isinstance(m, SqueezeExcitation)]
    assert [gate.fc2.out_features for gate in gates] == [16] * 3 + [32] * 3 + [64] * 3
    rest = [name for name in network.state_dict() if ".attention." not in name]
    assert rest == list(plain.state_dict())


def test_reduction_can_be_chosen():
    network = timm.create_model("se_resnet20_cifar", reduction=4)
    assert network.layer3[0].attention.fc1.weight.shape == (16, 64)


def test_linear_layers_start_as_torch_draws_them():
    torch.manual_seed(0)
    weight = SqueezeExcitation(1024, 1).fc1.weight
    torch.manual_seed(0)
    assert_close(weight, nn.Linear(1024, 1024, bias=False).weight, rtol=0, atol=0)


def test_bad_sizes_are_refused():
    with pytest.raises(ValueError, match="`reduction` <= channels = 16, got 17"):
        CifarSEResNet(1, reduction=17)
    with pytest.raises(ValueError, match="`reduction` >= 1, got 0"):
        CifarSEResNet(1, reduction=0)
    with pytest.raises(TypeError, match=r"`channels` to be an int, got 16\.0"):
        SqueezeExcitation(16.0)
