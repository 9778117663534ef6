"""Tests of semaug.networks.densenet_cifar."""

from copy import deepcopy
from itertools import pairwise

import pytest
import timm
import torch
from pytorchcv.models.densenet_cifar import get_densenet_cifar
from torch import nn
from torch.testing import assert_close

from semaug.networks.densenet_cifar import CifarDenseNet
from tests.networks.twins import assert_same_logits


def saved_bytes(network, images):
    """Add up what is kept for the backward pass, each storage once."""
    storages = {}

    def pack(tensor):
        storages[tensor.untyped_storage().data_ptr()] = tensor  # kept alive, so never reused
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        network(images).sum()
    weights = {p.untyped_storage().data_ptr() for p in network.parameters()}
    return sum(
        tensor.untyped_storage().nbytes()
        for pointer, tensor in storages.items()
        if pointer not in weights
    )


def test_another_implementation_gives_the_same_logits():
    torch.manual_seed(0)
    other = get_densenet_cifar(num_classes=10, blocks=22, growth_rate=4, bottleneck=True)
    assert_same_logits(CifarDenseNet(3, 4), other)


def test_depth_counts_the_layers_with_weights():
    layers = [m for m in CifarDenseNet(16, 1).modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(layers) == 100


def test_each_layer_takes_all_maps_of_its_block():
    network = CifarDenseNet(3, 4)
    taken = [[layer.bn1.num_features for layer in block] for block in network.stages()]
    assert taken == [[8, 12, 16], [10, 14, 18], [11, 15, 19]]  # transitions halve 20 and 22
    assert network.num_features == 23


def test_the_output_of_a_block_begins_with_its_input():
    network = CifarDenseNet(2, 4).eval()
    maps = torch.randn(2, 8, 6, 6)
    output = network.layer1(maps)
    assert_close(output[:, :8], maps, rtol=0, atol=0)
    first = network.layer1[0](maps)
    assert_close(output[:, 8:12], first)
    assert_close(output[:, 12:], network.layer1[1](maps, first))


def test_dropout_follows_every_convolution_but_the_first():
    network = CifarDenseNet(2, 4, block_drop_rate=0.2)
    dropped = []
    modules = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Dropout)]
    for module, following in pairwise(modules):
        if isinstance(module, nn.Conv2d):
            dropped.append(isinstance(following, nn.Dropout) and following.p == 0.2)
    assert dropped == [False] + [True] * (3 * 2 * 2 + 2)


def test_checkpointing_keeps_memory_that_grows_with_depth_not_its_square():
    images = torch.randn(2, 3, 16, 16)
    kept = {}
    for layers in (4, 16):
        for checkpointing in (False, True):
            network = CifarDenseNet(layers, 4)
            network.set_grad_checkpointing(checkpointing)
            kept[layers, checkpointing] = saved_bytes(network, images)
    assert kept[16, True] < kept[16, False] / 5
    assert kept[16, True] < 4 * kept[4, True]
    assert kept[16, False] > 5 * kept[4, False]


def test_checkpointing_can_be_switched_off():
    network = CifarDenseNet(2, 4)
    images = torch.randn(2, 3, 8, 8)
    before = saved_bytes(network, images)
    network.set_grad_checkpointing()
    assert saved_bytes(network, images) < before
    network.set_grad_checkpointing(False)
    assert saved_bytes(network, images) == before


def test_checkpointing_compiles_to_the_same_gradients_and_statistics():
    torch.manual_seed(0)
    network, images = CifarDenseNet(2, 4), torch.randn(2, 3, 8, 8)
    twin = deepcopy(network)
    twin.set_grad_checkpointing()
    network(images).logsumexp(1).sum().backward()
    torch.compile(twin, fullgraph=True, backend="aot_eager")(images).logsumexp(1).sum().backward()
    for parameter, other in zip(network.parameters(), twin.parameters(), strict=True):
        assert_close(other.grad, parameter.grad)
    assert_close(dict(twin.named_buffers()), dict(network.named_buffers()))


def test_a_transition_is_of_the_group_of_the_layer_before_it():
    network = timm.create_model("densenet_bc100_12_cifar", layers_per_block=2, growth_rate=4)
    groups = timm.models.group_parameters(network, network.group_matcher(), reverse=True)
    assert groups["transition1.conv.weight"] == groups["layer1.1.conv2.weight"] == 2
    assert groups["layer2.0.conv1.weight"] == 3


def test_weights_start_as_in_the_code_of_the_source():
    torch.manual_seed(0)
    network = CifarDenseNet(1, 32)
    weight = network.layer2[0].conv1.weight
    assert_close(weight.std().item(), (2 / 128) ** 0.5, rtol=0.02, atol=0)
    assert not network.fc.bias.any()


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="`layers_per_block` >= 1, got 0"):
        CifarDenseNet(0, 12)
    with pytest.raises(TypeError, match="`growth_rate` to be an int, got None"):
        CifarDenseNet(1, None)
    with pytest.raises(ValueError, match="probability has to be between 0 and 1"):
        CifarDenseNet(1, 1, block_drop_rate=-0.1)
