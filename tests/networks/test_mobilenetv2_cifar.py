"""Tests of semaug.networks.mobilenetv2_cifar."""

import pytest
import timm
import torch
from torch import nn
from torch.testing import assert_close
from torchvision.models import MobileNetV2

from semaug.analysis import multiply_adds
from semaug.networks.mobilenetv2_cifar import _STAGES, CifarMobileNetV2


def for_small_images(width):
    """Return torchvision's network, told not to halve where ours does not."""
    network = MobileNetV2(10, width, inverted_residual_setting=[list(stage) for stage in _STAGES])
    network.features[0][0].stride = (1, 1)
    return network


def test_parameters_are_those_of_the_source():
    with torch.device("meta"):
        networks = [timm.create_model("mobilenetv2_cifar", num_classes=n) for n in (1000, 100)]
    counts = [sum(p.numel() for p in network.parameters()) for network in networks]
    assert counts == [3_504_872, 2_351_972]
    assert networks[0].num_features == 1280


@pytest.mark.parametrize("width", [0.25, 1.0, 1.4])
def test_operations_are_those_of_torchvision(width):
    with torch.device("meta"):
        ours, theirs = CifarMobileNetV2(width), for_small_images(width)
    assert multiply_adds(ours, 32) == multiply_adds(theirs, 32)


def test_logits_are_those_of_torchvision():
    network, other = CifarMobileNetV2(0.25).eval(), for_small_images(0.25).eval()
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm2d):
            for values in (norm.bias.data, norm.running_mean):
                values.normal_()
    weights = network.state_dict().values()
    other.load_state_dict(dict(zip(other.state_dict(), weights, strict=True)))
    images = torch.randn(2, 3, 32, 32)
    assert_close(network(images), other(images))


def test_maps_are_halved_three_times():
    with torch.device("meta"):
        network = timm.create_model("mobilenetv2_cifar", features_only=True)
        maps = network(torch.zeros(1, 3, 32, 32))
    assert [m.shape[2] for m in maps] == [32, 16, 8, 4]
    assert network.feature_info.reduction() == [1, 2, 4, 8]
    assert network.feature_info.channels() == [24, 32, 96, 1280]


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match=r"`width` >= 0\.1, got 0"):
        CifarMobileNetV2(0)
    with pytest.raises(TypeError, match="`width` to be a number, got 'wide'"):
        CifarMobileNetV2("wide")
    with pytest.raises(ValueError, match="`in_chans` >= 1, got 0"):
        CifarMobileNetV2(in_chans=0)
