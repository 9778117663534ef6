"""Tests of semaug.networks.pyramidnet_cifar."""

from copy import deepcopy

import pytest
import timm
import torch
from pytorchcv.models.pyramidnet_cifar import CIFARPyramidNet, get_pyramidnet_cifar
from torch import nn
from torch.testing import assert_close

from semaug.analysis import multiply_adds
from semaug.networks.pyramidnet_cifar import CifarPyramidNet, ShakeDrop


def on_meta(create, *args, **kwargs):
    with torch.device("meta"):
        return create(*args, **kwargs)


def num_parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("name", "depth", "alpha", "parameters", "num_features"),
    [
        ("pyramidnet110_a48_cifar", 110, 48, 1_772_706, 64),
        ("pyramidnet110_a200_cifar", 110, 200, 16_566_290, 216),
        ("pyramidnet110_a270_cifar", 110, 270, 28_485_477, 286),
        ("pyramidnet272_a200_cifar", 272, 200, 26_210_842, 864),
    ],
)
def test_another_implementation_is_as_large(name, depth, alpha, parameters, num_features):
    network = on_meta(timm.create_model, name)
    other = on_meta(get_pyramidnet_cifar, 10, depth, alpha, depth == 272)
    assert num_parameters(network) == num_parameters(other) == parameters
    assert network.num_features == num_features


def test_another_implementation_costs_as_much():
    network = on_meta(CifarPyramidNet, 3, 20)
    other = on_meta(get_pyramidnet_cifar, 10, 20, 20, False)
    assert multiply_adds(network, 32) == multiply_adds(other, 32)


@pytest.mark.parametrize("bottleneck", [False, True])
def test_another_implementation_gives_the_same_logits(bottleneck):
    network = CifarPyramidNet(2, 7, bottleneck).eval()
    widths = [[17, 18], [20, 21], [22, 23]]
    channels = [[4 * c if bottleneck else c for c in stage] for stage in widths]
    other = CIFARPyramidNet(channels, 16, bottleneck).eval()
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm2d):
            for values in (norm.weight.data, norm.bias.data, norm.running_mean):
                values.normal_()
    weights = network.state_dict().values()
    other.load_state_dict(dict(zip(other.state_dict(), weights, strict=True)))
    images = torch.randn(2, 3, 32, 32)
    assert_close(network(images), other(images))


def test_blocks_of_odd_maps_and_new_channels_keep_their_shortcut():
    block = CifarPyramidNet(1, 12).layer2[0].eval()
    nn.init.zeros_(block.body[-1].weight)
    image = torch.randn(2, 20, 7, 5)
    output = block(image)
    assert output.shape == (2, 24, 4, 3)
    assert_close(
        output[:, :20, :3, :2], image[:, :, :6, :4].unfold(2, 2, 2).unfold(3, 2, 2).mean((4, 5))
    )
    assert_close(output[:, 20:], torch.zeros(2, 4, 4, 3))


def test_later_blocks_are_disturbed_more():
    network = on_meta(timm.create_model, "pyramidnet110_a200_cifar")
    drops = [module for module in network.modules() if isinstance(module, ShakeDrop)]
    assert [drop.probability for drop in drops] == pytest.approx(
        [0.5 * k / 54 for k in range(1, 55)]
    )
    assert repr(drops[-1]) == "ShakeDrop(probability=0.5, level='image')"


def test_shakedrop_keeps_or_disturbs_each_image():
    torch.manual_seed(0)
    drop = ShakeDrop(0.3, "image")
    image = torch.ones(20_000, 1, 1, 1, requires_grad=True)
    output = drop(image)
    output.sum().backward()
    factor, backward = output.detach().flatten(), image.grad.flatten()
    kept = factor == 1
    assert_close(kept.float().mean().item(), 0.7, rtol=0.02, atol=0)
    assert torch.equal(backward[kept], factor[kept])
    alpha, beta = factor[~kept], backward[~kept]
    assert (alpha.min() < -0.99, alpha.max() > 0.99) == (True, True)
    assert beta.min() >= 0
    assert_close(
        torch.stack([alpha.mean(), beta.mean()]), torch.tensor([0.0, 0.5]), rtol=0, atol=0.02
    )
    assert abs(torch.corrcoef(torch.stack([alpha, beta]))[0, 1]) < 0.05


def test_each_image_is_disturbed_as_the_source_says():
    block = CifarPyramidNet(1, 12, shakedrop=0.5).layer3[0]
    assert block.shakedrop.probability == 0.5
    images = torch.randn(12, 24, 4, 4, requires_grad=True)
    for norm in block.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.eval()
    torch.manual_seed(0)
    output = block(images)
    output.square().sum().backward()
    torch.manual_seed(0)
    chances, alphas, betas = torch.rand(3, len(images))
    for n, chance in enumerate(chances):
        b = float(chance >= 0.5)
        alpha, beta = 2 * alphas[n] - 1, betas[n]
        image = images.detach()[n : n + 1].requires_grad_()
        branch = block.body(image)
        shortcut = nn.functional.pad(nn.functional.avg_pool2d(image, 2), (0, 0, 0, 0, 0, 4))
        disturbed = shortcut + (b + alpha - b * alpha) * branch
        assert_close(output[n : n + 1], disturbed)
        outside = 2 * disturbed.detach()
        (shortcut + (b + beta - b * beta) * branch).backward(outside)
        assert_close(images.grad[n : n + 1], image.grad)
    assert 0 < (chances >= 0.5).sum() < len(images)  # both happened


def test_shakedrop_of_a_batch_draws_once():
    factors = [ShakeDrop(0.5, "batch")(torch.ones(8, 1, 1, 1)).flatten() for _ in range(20)]
    assert all(len(factor.unique()) == 1 for factor in factors)
    assert len(torch.cat(factors).unique()) > 5


def test_evaluation_takes_the_mean_over_draws():
    torch.manual_seed(0)
    drop = ShakeDrop(0.4, "image")
    mean = drop(torch.ones(20_000, 1, 1, 1)).mean()
    assert_close(drop.eval()(torch.tensor(1.0)), torch.tensor(0.6))
    assert_close(mean.item(), 0.6, rtol=0, atol=0.02)


def test_zero_switches_it_off():
    image = torch.randn(2, 3, 4, 4)
    state = torch.get_rng_state()
    assert ShakeDrop(0.0, "image")(image) is image
    assert torch.equal(torch.get_rng_state(), state)


def test_the_same_seed_gives_the_same_gradients_checkpointed_and_compiled():
    network = CifarPyramidNet(1, 12, shakedrop=0.9)
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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"blocks_per_stage": 0}, "`blocks_per_stage` >= 1, got 0"),
        ({"shakedrop": -0.1}, r"`shakedrop` >= 0, got -0\.1"),
        ({"shakedrop": 1.5}, r"`shakedrop` <= 1, got 1\.5"),
        ({"level": "pixel"}, "`level` to be one of 'image', 'batch'; got 'pixel'"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        CifarPyramidNet(**{"blocks_per_stage": 1, "alpha": 12, **arguments})


def test_a_wrong_type_is_refused():
    with pytest.raises(TypeError, match=r"`alpha` to be an int, got 1\.5"):
        CifarPyramidNet(1, 1.5)
