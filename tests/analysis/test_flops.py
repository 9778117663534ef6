"""Tests of semaug.analysis.flops."""

import pytest
import timm
import torch
from torch import nn
from torch.testing import assert_close

import semaug.networks  # noqa: F401  (registers with timm)
from semaug.analysis import multiply_adds, paper_flops

COUNTERS = (paper_flops, multiply_adds)


def layers():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, stride=2),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1, groups=4),
        nn.BatchNorm2d(8),
        nn.ReLU6(),
        nn.MaxPool2d(2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 5),
    )


@pytest.mark.parametrize(("name", "published"), [("resnet32", "69.43"), ("resnet110", "254.20")])
def test_networks_of_the_papers_cost_what_the_papers_print(name, published):
    network = timm.create_model(f"{name}_cifar", num_classes=10)
    assert f"{paper_flops(network, 32) / 1e6:.2f}" == published


def test_padded_shortcuts_cost_less_than_the_papers_print():
    network = timm.create_model("resnet32_cifar", shortcut="pad")
    projections = 16 * 32 * 16 * 16 + 32 * 64 * 8 * 8
    assert paper_flops(network, 32) == 69_431_936 - projections


@pytest.mark.parametrize("counter", COUNTERS)
def test_networks_without_data_are_counted_alike(counter):
    with torch.device("meta"):
        empty = timm.create_model("resnet20_cifar")
    assert counter(empty, 16) == counter(timm.create_model("resnet20_cifar"), 16)
    assert all(parameter.is_meta for parameter in empty.parameters())


@pytest.mark.parametrize("act", [nn.LeakyReLU(0.1), nn.GELU(), nn.SiLU()])
def test_other_activations_count_nothing(act):
    assert paper_flops(nn.Sequential(nn.Conv2d(3, 2, 1), act), 4) == 16 * 6


def test_every_kind_of_layer_is_counted():
    convolutions = 4 * 4 * 8 * 27 + 4 * 4 * 8 * 18
    relus, poolings, linear = 2 * 128, 128 + 32, 40
    assert paper_flops(layers(), 8) == convolutions + relus + poolings + linear
    assert multiply_adds(layers(), 8) == convolutions + linear


def test_functions_are_seen_by_multiply_adds_only():
    class Functional(nn.Module):
        def forward(self, images):
            flat = images.flatten(1)
            return torch.relu(flat @ flat.new_ones(12, 7))

    assert paper_flops(Functional(), 2) == 0
    assert multiply_adds(Functional(), 2) == 12 * 7


@pytest.mark.parametrize("counter", COUNTERS)
def test_the_network_stays_as_it_is(counter):
    network = layers().double()
    network[3].eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    counter(network, 8)
    assert [module.training for module in network] == [i != 3 for i in range(9)]
    assert_close(network.state_dict(), before)
    assert not any(module._forward_hooks for module in network.modules())


@pytest.mark.parametrize("counter", COUNTERS)
def test_the_network_stays_as_it_is_when_it_fails(counter):
    network = layers()
    with pytest.raises(RuntimeError, match="channels"):
        counter(network, 8, num_channels=1)
    assert all(module.training for module in network)
    assert not any(module._forward_hooks for module in network.modules())


@pytest.mark.parametrize("counter", COUNTERS)
def test_sizes_below_one_are_refused(counter):
    with pytest.raises(ValueError, match="`image_size` >= 1, got 0"):
        counter(layers(), 0)
    with pytest.raises(TypeError, match=r"`num_channels` to be an int, got 3\.0"):
        counter(layers(), 8, num_channels=3.0)
