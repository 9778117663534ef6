"""Tests of semaug.networks.resnet_cifar."""

from copy import deepcopy

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


@pytest.fixture
def images():
    return torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("shortcut", ["projection", "pad"])
@pytest.mark.parametrize("depth", DEPTHS)
def test_parameters_are_those_counted_by_hand(depth, shortcut):
    for num_classes in (10, 100):
        network = create(depth, num_classes=num_classes, shortcut=shortcut)
        assert num_parameters(network) == parameters_by_hand(depth, num_classes, shortcut)


def test_parameters_round_to_those_of_the_papers():
    assert num_parameters(create(32)) == 466_906  # 0.5M
    assert num_parameters(create(110)) == 1_730_714  # 1.7M


@pytest.mark.parametrize("depth", DEPTHS)
def test_depth_counts_the_layers_with_weights(depth):
    network = create(depth, shortcut="pad")
    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(layers) == depth
    assert f"resnet{depth}_cifar" in NETWORKS


def test_every_network_is_known_to_timm():
    assert set(timm.list_models("resnet*_cifar")) == set(NETWORKS)
    assert set(timm.list_models(module="resnet_cifar")) == set(NETWORKS)


def test_convolutions_start_with_the_variance_of_the_source():
    weight = create(20).layer3[1].conv1.weight
    assert_close(weight.std().item(), (2 / (9 * 64)) ** 0.5, rtol=0.02, atol=0)


def test_the_padded_shortcut_subsamples_and_adds_empty_channels(images):
    block = create(shortcut="pad").layer2[0]
    image = torch.randn(2, 16, 7, 5)
    short = block.shortcut(image)
    assert_close(short[:, :16], image[:, :, ::2, ::2])
    assert_close(short[:, 16:], torch.zeros(2, 16, 4, 3))
    assert block(image).shape == (2, 32, 4, 3)


@pytest.mark.parametrize("size", [8, 13, 32])
def test_images_of_any_size_are_taken(size):
    assert create()(torch.randn(2, 3, size, size)).shape == (2, 10)


def test_number_of_classes_and_channels_can_be_chosen():
    network = create(num_classes=7, in_chans=1)
    assert network(torch.randn(2, 1, 8, 8)).shape == (2, 7)
    assert (network.num_classes, network.in_chans) == (7, 1)


def test_features_then_classifier_are_the_logits(images):
    network = create().eval()
    features = network.forward_head(network.forward_features(images), pre_logits=True)
    assert features.shape == (4, network.num_features) == (4, 64)
    assert network.head_hidden_size == 64
    assert_close(network.get_classifier()(features), network(images))


def test_the_classifier_can_be_replaced_or_left_out(images):
    network = create().double().eval()
    network.reset_classifier(3)
    assert network.get_classifier().weight.shape == (3, 64)
    assert network(images.double()).dtype == torch.float64
    network.reset_classifier(0)
    assert network(images.double()).shape == (4, 64)
    network.reset_classifier(0, global_pool="")
    assert network(images.double()).shape == (4, 64, 4, 4)


def test_feature_maps_of_each_stage_come_from_timm(images):
    network = create(features_only=True)
    shapes = [tuple(maps.shape[1:]) for maps in network(images)]
    assert shapes == [(16, 16, 16), (16, 16, 16), (32, 8, 8), (64, 4, 4)]
    assert network.feature_info.reduction() == [1, 1, 2, 4]


def test_dropout_acts_before_the_classifier(images):
    network = create(drop_rate=0.5)
    features = network.forward_head(network.forward_features(images), pre_logits=True)
    assert 0.3 < (features == 0).float().mean() < 0.7


@pytest.mark.parametrize("shortcut", ["projection", "pad"])
def test_compiles_without_a_graph_break(images, shortcut):
    network = create(shortcut=shortcut)
    compiled = torch.compile(deepcopy(network), fullgraph=True, backend="aot_eager")
    assert_close(compiled(images), network(images))


@pytest.mark.parametrize("shortcut", ["projection", "pad"])
def test_channels_last_gives_the_same_logits(images, shortcut):
    network = create(shortcut=shortcut)
    expected = deepcopy(network)(images)
    network = network.to(memory_format=torch.channels_last)
    images = images.to(memory_format=torch.channels_last)
    assert_close(network(images), expected)
    assert network.forward_features(images).is_contiguous(memory_format=torch.channels_last)


def test_checkpointing_gives_the_same_gradients(images):
    network = create()
    twin = deepcopy(network)
    twin.set_grad_checkpointing()
    for model in (network, twin):
        model(images).logsumexp(1).sum().backward()
    for parameter, other in zip(network.parameters(), twin.parameters(), strict=True):
        assert_close(other.grad, parameter.grad)


def test_weights_load_into_a_fresh_network(images):
    network = create()
    network(images)
    fresh = timm.create_model("resnet8_cifar")
    fresh.load_state_dict(network.state_dict())
    assert_close(fresh.eval()(images), network.eval()(images))


def test_groups_of_layers_cover_every_parameter():
    groups = timm.models.group_parameters(create(20), create(20).group_matcher())
    assert sum(len(names) for names in groups.values()) == len(list(create(20).parameters()))


def test_pretrained_weights_do_not_exist():
    with pytest.raises(RuntimeError, match="No pretrained weights exist for resnet32_cifar"):
        create(32, pretrained=True)


def test_an_unknown_shortcut_is_refused():
    with pytest.raises(ValueError, match="one of 'projection', 'pad'; got 'A'"):
        create(shortcut="A")


def test_a_size_below_one_is_refused():
    with pytest.raises(ValueError, match="`blocks_per_stage` >= 1, got 0"):
        CifarResNet(0)
    with pytest.raises(TypeError, match=r"`in_chans` to be an int, got 3\.0"):
        CifarResNet(1, in_chans=3.0)
