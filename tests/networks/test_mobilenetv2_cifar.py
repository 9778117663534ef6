"""Tests of semaug.networks.mobilenetv2_cifar."""

import pytest
import timm
import torch
import torch.nn.functional as F
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


def num_parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


def test_parameters_are_those_of_the_source():
    with torch.device("meta"):
        networks = [timm.create_model("mobilenetv2_cifar", num_classes=n) for n in (1000, 100)]
    assert [*map(num_parameters, networks)] == [3_504_872, 2_351_972]
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


# The network of the released code of AIT.


@pytest.fixture
def released():
    torch.manual_seed(0)
    return timm.create_model("mobilenetv2_relu_cifar", num_classes=100)


def blocks_of(network):
    return [block for stage in network.stages() for block in stage]


def test_parameters_are_those_of_the_released_network(released):
    assert num_parameters(released) == 2_412_212
    plain = timm.create_model("mobilenetv2_cifar", num_classes=100)
    # A first convolution of 32 x 32; shortcuts of the four stages that begin with stride 1.
    shortcuts = [(32, 16), (16, 24), (64, 96), (160, 320)]
    additional = 32 * 32 + 2 * 32 + sum((before + 2) * after for before, after in shortcuts)
    assert num_parameters(released) - num_parameters(plain) == additional


def test_the_released_network_has_no_bound_on_its_relus(released):
    kinds = {type(m) for m in released.modules() if isinstance(m, nn.ReLU | nn.ReLU6)}
    assert kinds == {nn.ReLU}
    plain = timm.create_model("mobilenetv2_cifar")
    assert {type(m) for m in plain.modules() if isinstance(m, nn.ReLU | nn.ReLU6)} == {nn.ReLU6}


def test_released_blocks_add_their_input_wherever_they_keep_height_and_width(released):
    released.eval()
    kinds = {}
    for block in blocks_of(released):
        convolutions = [m for m in block.body if isinstance(m, nn.Conv2d)]
        assert [m.kernel_size[0] for m in convolutions] == [1, 3, 1]
        before, stride, after = (
            convolutions[0].in_channels, convolutions[1].stride[0], convolutions[2].out_channels
        )  # fmt: skip
        images = torch.randn(2, before, 4, 4)
        if stride == 2:
            expected, kind = block.body(images), "none"
        elif before == after:
            expected, kind = images + block.body(images), "identity"
        else:
            short = F.conv2d(images, block.shortcut[0].weight)  # a batch norm that is new
            expected, kind = block.body(images) + short / (1 + 1e-5) ** 0.5, "convolved"
        assert_close(block(images), expected)
        kinds[kind] = kinds.get(kind, 0) + 1
    assert kinds == {"none": 3, "identity": 10, "convolved": 4}


def test_initial_weights_of_the_released_network_are_those_of_torch(released):
    for module in released.modules():
        if isinstance(module, nn.Conv2d):
            bound = module.weight[0].numel() ** -0.5
            assert 0.8 * bound < module.weight.abs().max() <= bound


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match=r"`width` >= 0\.1, got 0"):
        CifarMobileNetV2(0)
    with pytest.raises(TypeError, match="`width` to be a number, got 'wide'"):
        CifarMobileNetV2("wide")
    with pytest.raises(ValueError, match="`in_chans` >= 1, got 0"):
        CifarMobileNetV2(in_chans=0)
