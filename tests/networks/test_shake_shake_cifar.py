"""Tests of semaug.networks.shake_shake_cifar."""

from copy import deepcopy

import pytest
import timm
import torch
import torch.nn.functional as F
from pytorchcv.models.shakeshakeresnet_cifar import shakeshakeresnet26_2x32d_cifar10
from torch.testing import assert_close

from semaug.analysis import multiply_adds
from semaug.networks.shake_shake_cifar import CifarShakeShake, ShakeShakeBlock


def on_meta(create, *args, **kwargs):
    with torch.device("meta"):
        return create(*args, **kwargs)


def num_parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.fixture
def images():
    return torch.randn(6, 8, 5, 5, generator=torch.Generator().manual_seed(1))


def trained(block):
    """Give batch norms something to do, and leave them be."""
    for norm in block.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2)
            norm.eval()
    return block


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("shake_shake26_2x32d_cifar", 2_923_162),
        ("shake_shake26_2x96d_cifar", 26_192_922),
        ("shake_shake26_2x112d_cifar", 35_640_442),
    ],
)
def test_the_parameters_are_counted(name, parameters):
    assert num_parameters(on_meta(timm.create_model, name)) == parameters


def test_another_implementation_has_the_same_layers():
    other = on_meta(shakeshakeresnet26_2x32d_cifar10)
    network = on_meta(CifarShakeShake, 32)
    assert num_parameters(network) == num_parameters(other)
    assert multiply_adds(network, 32) == multiply_adds(other, 32)


def test_evaluation_takes_the_mean_of_the_branches(images):
    block = trained(ShakeShakeBlock(8, 8, 1, "image")).eval()
    active = images.relu()
    mean = (block.branch1(active) + block.branch2(active)) / 2
    assert_close(block(images), images + mean)


@pytest.mark.parametrize("shake", ["image", "batch", "none"])
def test_shares_are_drawn_for_each_image_or_once_or_never(images, shake):
    block = trained(ShakeShakeBlock(8, 8, 1, shake))
    active = images.relu()
    first, second = block.branch1(active), block.branch2(active)
    torch.manual_seed(0)
    mixed = block(images) - images
    shares = ((mixed - second) / (first - second)).flatten(1)
    assert_close(shares, shares[:, :1].expand_as(shares), rtol=1e-3, atol=1e-3)
    shares = shares[:, 0]
    assert ((shares >= 0) & (shares <= 1)).all()
    if shake == "image":
        assert shares.std() > 0.1
    else:
        assert_close(shares, shares[:1].expand(6), rtol=1e-3, atol=1e-3)
    assert ((shares - 0.5).abs().max() < 1e-3) == (shake == "none")


def test_each_image_is_mixed_as_the_source_says(images):
    block = trained(ShakeShakeBlock(8, 8, 1, "image"))
    images = images.requires_grad_()
    torch.manual_seed(0)
    output = block(images)
    output.square().sum().backward()
    torch.manual_seed(0)
    shares, backward_shares = torch.rand(2, len(images))
    for n, (alpha, beta) in enumerate(zip(shares, backward_shares, strict=True)):
        image = images.detach()[n : n + 1].requires_grad_()
        first, second = (branch(image.relu()) for branch in (block.branch1, block.branch2))
        mixed = image + alpha * first + (1 - alpha) * second
        assert_close(output[n : n + 1], mixed)
        outside = 2 * mixed.detach()
        (image + beta * first + (1 - beta) * second).backward(outside)
        assert_close(images.grad[n : n + 1], image.grad)


@pytest.mark.parametrize("stride", [1, 2])
def test_the_shortcut_looks_at_pixels_and_their_neighbours_up_left(stride):
    shortcut = ShakeShakeBlock(3, 4, stride, "image").shortcut.eval()
    image = torch.randn(2, 3, 7, 6)
    above = F.pad(image, (1, 0, 1, 0))[:, :, :-1, :-1]
    own, neighbour = (x[:, :, ::stride, ::stride] for x in (image, above))
    expected = torch.cat([shortcut.conv1(own), shortcut.conv2(neighbour)], dim=1)
    assert_close(shortcut(image), expected / (1 + shortcut.bn.eps) ** 0.5)


def test_the_same_seed_gives_the_same_gradients_checkpointed_and_compiled():
    network = CifarShakeShake(4, 1)
    checkpointed = deepcopy(network)
    checkpointed.set_grad_checkpointing()
    compiled = torch.compile(deepcopy(network), fullgraph=True, backend="aot_eager")
    images = torch.randn(4, 3, 8, 8)
    gradients = []
    for model in (network, checkpointed, compiled):
        torch.manual_seed(0)
        model(images).logsumexp(1).sum().backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    assert_close(gradients[1], gradients[0])
    assert_close(gradients[2], gradients[0])


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="`width` >= 1, got 0"):
        CifarShakeShake(0)
    with pytest.raises(TypeError, match=r"`blocks_per_stage` to be an int, got 1\.5"):
        CifarShakeShake(4, 1.5)
    with pytest.raises(ValueError, match="`shake` to be one of 'image', 'batch', 'none'; got 'p'"):
        CifarShakeShake(4, 1, shake="p")
