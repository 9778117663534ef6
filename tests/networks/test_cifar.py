"""Tests of semaug.networks.cifar."""

from copy import deepcopy

import pytest
import timm
import torch
from torch import nn
from torch.testing import assert_close

from semaug.networks import CifarResNet, CifarWideResNet
from semaug.networks.cifar import checkpointed, init_by_fan_out, make_stage


def test_arguments_given_to_timm_replace_those_of_the_variant():
    network = timm.create_model("resnet110_cifar", blocks_per_stage=2)
    assert [len(stage) for stage in network.stages()] == [2, 2, 2]


def test_timm_knows_how_to_feed_the_networks():
    network = timm.create_model("resnet8_cifar")
    configuration = timm.data.resolve_model_data_config(network)
    assert configuration["input_size"] == (3, 32, 32)
    assert configuration["mean"] == (0.4914, 0.4822, 0.4465)
    assert network.default_cfg["classifier"] == "fc"
    assert network.default_cfg["first_conv"] == "conv1"


def test_pretrained_weights_do_not_exist():
    with pytest.raises(RuntimeError, match="No pretrained weights exist for resnet8_cifar"):
        timm.create_model("resnet8_cifar", pretrained=True)


def test_only_the_first_block_of_a_stage_changes_channels_and_size():
    stage = make_stage(lambda *sizes: nn.Conv2d(sizes[0], sizes[1], 1, sizes[2]), 3, 4, 8, 2)
    assert [(m.in_channels, m.out_channels, m.stride[0]) for m in stage] == [
        (4, 8, 2),
        (8, 8, 1),
        (8, 8, 1),
    ]


def test_the_bias_of_the_classifier_starts_at_zero_if_asked_for():
    network = CifarResNet(1)
    assert network.fc.bias.any()
    init_by_fan_out(network)
    assert network.fc.bias.any()
    init_by_fan_out(network, zero_bias=True)
    assert not network.fc.bias.any()
    init_by_fan_out(CifarResNet(1, num_classes=0), zero_bias=True)


@pytest.mark.parametrize("momentum", [0.1, None])
def test_statistics_follow_the_first_run_of_a_checkpointed_block_only(momentum):
    torch.manual_seed(0)
    block = nn.Sequential(nn.BatchNorm2d(3, momentum=momentum), nn.Dropout(0.5))
    twin = deepcopy(block)
    images = torch.randn(2, 3, 4, 4, requires_grad=True)
    for _ in range(2):
        torch.manual_seed(1)
        expected = block(images)
        torch.manual_seed(1)
        output = checkpointed(twin, images)
        assert_close(output, expected, rtol=0, atol=0)
        (gradient,) = torch.autograd.grad(expected.square().sum(), images)
        (other,) = torch.autograd.grad(output.square().sum(), images)
        assert_close(other, gradient, rtol=0, atol=0)
    assert_close(twin.state_dict(), block.state_dict(), rtol=0, atol=0)
    assert twin[0].num_batches_tracked == 2
    assert twin[0].momentum == momentum


def test_a_block_that_fails_when_repeated_keeps_its_batch_norms():
    class FailsTwice(nn.BatchNorm2d):
        runs = 0

        def forward(self, images):
            self.runs += 1
            if self.runs == 2:
                raise KeyError("second run")
            return super().forward(images)

    block = FailsTwice(3)
    output = checkpointed(block, torch.randn(2, 3, 4, 4))
    with pytest.raises(KeyError, match="second run"):
        output.sum().backward()
    assert block.momentum == 0.1
    assert block.num_batches_tracked == 1


def test_checkpointing_acts_in_training_only():
    network = CifarWideResNet(1, 1)
    network.set_grad_checkpointing()
    runs = []
    network.layer1[0].register_forward_pre_hook(lambda *_: runs.append(1))
    images = torch.randn(2, 3, 8, 8)
    network(images).sum().backward()
    assert len(runs) == 2
    network.eval()(images).sum().backward()
    assert len(runs) == 3
    network.train().set_grad_checkpointing(False)
    network(images).sum().backward()
    assert len(runs) == 4
