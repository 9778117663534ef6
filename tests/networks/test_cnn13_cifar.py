"""Tests of semaug.networks.cnn13_cifar."""

import pytest
import timm
import torch
from torch import nn

from semaug.networks.cnn13_cifar import CifarCNN13


def layers_of(network):
    kinds = (nn.Conv2d, nn.BatchNorm2d, nn.LeakyReLU, nn.MaxPool2d, nn.Dropout)
    return [module for module in network.modules() if isinstance(module, kinds)]


def test_the_layers_are_those_of_the_table():
    with torch.device("meta"):
        network = timm.create_model("cnn13_cifar", num_classes=100)
    shapes = []

    def see(module, inputs, output):
        shapes.append((type(module).__name__, *output.shape[1:3]))

    for module in layers_of(network):
        if not isinstance(module, nn.BatchNorm2d | nn.LeakyReLU):
            module.register_forward_hook(see)
    assert network(torch.zeros(1, 3, 32, 32, device="meta")).shape == (1, 100)
    pool = "MaxPool2d", "Dropout"
    assert shapes == [
        *[("Conv2d", 128, 32)] * 3,
        *[(kind, 128, 16) for kind in pool],
        *[("Conv2d", 256, 16)] * 3,
        *[(kind, 256, 8) for kind in pool],
        ("Conv2d", 512, 6),
        ("Conv2d", 256, 6),
        ("Conv2d", 128, 6),
        ("Dropout", 128),  # of rate 0, before the classifier
    ]
    assert sum(parameter.numel() for parameter in network.parameters()) == 3_133_412


def test_each_convolution_has_batch_norm_and_leaky_relu():
    layers = layers_of(CifarCNN13(2))
    for conv, norm, act in zip(layers, layers[1:], layers[2:], strict=False):
        if isinstance(conv, nn.Conv2d):
            assert isinstance(norm, nn.BatchNorm2d)
            assert act.negative_slope == 0.1


def test_dropout_of_one_half_follows_both_poolings():
    network = CifarCNN13(2)
    assert [stage[1].p for stage in network.stages()[1:]] == [0.5, 0.5]
    assert CifarCNN13(2, block_drop_rate=0.25).layer2[1].p == 0.25


def test_twelve_pixels_are_enough_and_less_are_not():
    network = CifarCNN13(2).eval()
    assert network(torch.randn(2, 3, 12, 12)).shape == (2, 10)
    with pytest.raises(RuntimeError, match="Kernel size"):
        network(torch.randn(2, 3, 8, 8))


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="`width` >= 1, got 0"):
        CifarCNN13(0)
    with pytest.raises(TypeError, match="`in_chans` to be an int, got '3'"):
        CifarCNN13(2, in_chans="3")
    with pytest.raises(ValueError, match="probability has to be between 0 and 1"):
        CifarCNN13(2, block_drop_rate=1.5)


def test_weights_begin_as_in_the_code_of_virtual_adversarial_training():
    torch.manual_seed(0)
    network = CifarCNN13(64)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            deviation = (2 / module.weight[0].numel()) ** 0.5
            assert module.weight.abs().max() <= 2 * deviation
            assert 0.8 < module.weight.std() / deviation < 0.95  # cut off at two deviations
