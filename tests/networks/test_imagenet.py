"""Tests of semaug.networks.imagenet."""

import pytest
import timm
import torch
import torchvision
from torch import nn
from torch.testing import assert_close

import semaug.networks  # noqa: F401  (registers with timm)

THIN = {"growth_rate": 4, "block_config": (1, 2, 1, 1)}


def count_layers(name):
    with torch.device("meta"):
        network = timm.create_model(name)
    return sum(
        isinstance(module, nn.Conv2d | nn.Linear) and "downsample" not in name
        for name, module in network.named_modules()
    )


@pytest.mark.parametrize(
    ("name", "depth"),
    [
        ("resnet50", 50),
        ("resnet101", 101),
        ("resnet152", 152),
        ("resnext50_32x4d", 50),
        ("resnext101_32x8d", 101),
        ("densenet121", 121),
        ("densenet264", 265),
    ],
)
def test_depth_counts_convolutions_without_shortcuts_and_the_classifier(name, depth):
    assert count_layers(name) == depth


def test_densenet264_is_the_architecture_that_torchvision_builds():
    torch.manual_seed(0)
    network = timm.create_model("densenet264", num_classes=7, **THIN).eval()
    other = torchvision.models.DenseNet(
        growth_rate=4, block_config=(1, 2, 1, 1), num_init_features=8, num_classes=7
    ).eval()
    pairs = zip(network.state_dict().values(), other.state_dict().items(), strict=True)
    for value, (name, tensor) in pairs:
        assert value.shape == tensor.shape, name
        tensor.copy_(value)
    images = torch.randn(2, 3, 64, 64)
    assert_close(network(images), other(images))


def test_zero_init_last_decides_whether_residual_blocks_begin_as_the_identity():
    arguments = {"layers": (1, 1, 1, 1), "channels": (8, 8, 8, 8)}
    network = timm.create_model("resnet50", **arguments)
    assert not network.layer1[0].bn3.weight.any()
    network = timm.create_model("resnet50", zero_init_last=False, **arguments)
    assert (network.layer1[0].bn3.weight == 1).all()


def test_bottlenecks_halve_in_the_3x3_convolution():
    block = timm.create_model("resnet50", layers=(1, 1, 1, 1), channels=(8, 8, 8, 8)).layer2[0]
    assert (block.conv1.stride, block.conv2.stride) == ((1, 1), (2, 2))


def test_convolutions_start_by_fan_out_in_residual_and_by_fan_in_in_dense_networks():
    torch.manual_seed(0)
    weight = timm.create_model("resnet50", layers=(1, 1, 1, 1)).layer3[0].conv1.weight
    assert_close(weight.std().item(), (2 / 256) ** 0.5, rtol=0.02, atol=0)  # 512 to 256
    network = timm.create_model("densenet264", growth_rate=16, block_config=(4, 1, 1, 1))
    weight = network.features.denseblock1.denselayer4.conv2.weight
    assert_close(weight.std().item(), (2 / (9 * 64)) ** 0.5, rtol=0.03, atol=0)  # 64 to 16


def test_weights_of_densenet264_do_not_exist():
    with pytest.raises(RuntimeError, match="No pretrained weights exist for densenet264"):
        timm.create_model("densenet264", pretrained=True, **THIN)
