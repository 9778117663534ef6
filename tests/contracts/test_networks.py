"""Contracts of all listed networks: what each does."""

from copy import deepcopy
from typing import NamedTuple

import pytest
import timm
import torch
from timm.models import model_entrypoint
from torch import nn
from torch.testing import assert_close

import semaug
from semaug.networks import NETWORKS

NUM_CLASSES = 5


class Small(NamedTuple):
    """A cheap network of one class, of which others are listed too."""

    name: str
    arguments: dict = {}  # noqa: RUF012
    image_size: int = 16


THIN = {"layers": (1, 1, 1, 1), "channels": (8, 16, 16, 16), "zero_init_last": False}
DENSE = {"growth_rate": 4, "block_config": (1, 2, 1, 1), "proj_drop_rate": 0.2}

# By the module that registers them with timm. What is listed of a module that is missing here
# is tried by its first network as it is, so that nothing goes untested.
SMALL = {
    "resnet_cifar": [
        Small("resnet8_cifar", {"block_drop_rate": 0.3}),
        Small("resnet8_cifar", {"shortcut": "pad"}),
    ],
    "se_resnet_cifar": [Small("se_resnet20_cifar", {"blocks_per_stage": 1})],
    "wide_resnet_cifar": [
        Small("wide_resnet28_10_cifar", {"width": 1, "blocks_per_stage": 1, "block_drop_rate": 0.3})
    ],
    "resnext_cifar": [
        Small("resnext29_8x64d_cifar", {"blocks_per_stage": 1, "cardinality": 2, "base_width": 4})
    ],
    "densenet_cifar": [
        Small(
            "densenet_bc100_12_cifar",
            {"layers_per_block": 2, "growth_rate": 4, "block_drop_rate": 0.2},
        )
    ],
    "shake_shake_cifar": [
        Small("shake_shake26_2x32d_cifar", {"width": 4, "blocks_per_stage": 2}),
    ],
    "pyramidnet_cifar": [
        Small("pyramidnet110_a200_cifar", {"blocks_per_stage": 2, "alpha": 12}),
        Small("pyramidnet272_a200_cifar", {"blocks_per_stage": 1, "alpha": 12}),
    ],
    "cnn13_cifar": [Small("cnn13_cifar", {"width": 8})],
    "mobilenetv2_cifar": [
        Small("mobilenetv2_cifar", {"width": 0.1}),
        Small("mobilenetv2_relu_cifar", {"width": 0.1}),
    ],
    "resnet": [
        Small("resnet50", THIN, 33),
        Small("resnext50_32x4d", {**THIN, "cardinality": 2, "base_width": 64}, 33),
    ],
    "densenet": [Small("densenet121", DENSE, 32)],
    "imagenet": [Small("densenet264", DENSE, 32)],
}


def family(name):
    return model_entrypoint(name).__module__.rpartition(".")[2]


FIRST = {family(name): name for name in reversed(NETWORKS)}
CASES = [
    pytest.param(small, id=f"{small.name}{i or ''}")
    for module, first in FIRST.items()
    for i, small in enumerate(SMALL.get(module, [Small(first)]))
]
every_family = pytest.mark.parametrize("small", CASES)
# timm has a contract of its own for classes of its own.
every_class_of_ours = pytest.mark.parametrize(
    "small", [case for case in CASES if family(case.values[0].name).endswith("_cifar")]
)


def create(small, **kwargs):
    torch.manual_seed(0)
    return timm.create_model(
        small.name, **{"num_classes": NUM_CLASSES, **small.arguments, **kwargs}
    )


def draw_images(small, channels=3):
    size = small.image_size
    return torch.randn(4, channels, size, size, generator=torch.Generator().manual_seed(1))


def gradients(network, images):
    """Draw the same random numbers in each call."""
    torch.manual_seed(2)
    network(images).logsumexp(1).sum().backward()
    return {name: parameter.grad for name, parameter in network.named_parameters()}


def without_prefix(tensors):
    return {name.removeprefix("_orig_mod."): tensor for name, tensor in tensors.items()}


@every_family
def test_features_then_classifier_are_the_logits(small):
    network, images = create(small).eval(), draw_images(small)
    maps = network.forward_features(images)
    features = network.forward_head(maps, pre_logits=True)
    logits = network(images)
    assert maps.ndim == 4
    assert features.shape == (4, network.num_features) == (4, network.head_hidden_size)
    assert logits.shape == (4, NUM_CLASSES)
    assert isinstance(network.get_classifier(), nn.Linear)
    assert_close(network.get_classifier()(features), logits)
    assert_close(network.forward_head(maps), logits)


@every_family
def test_with_features_gives_the_logits_and_what_the_classifier_took(small):
    network, images = create(small).eval(), draw_images(small)
    expected = network(images)
    net = semaug.with_features(network, example_images=images)
    logits, features = net(images)
    assert_close(logits, expected, rtol=0, atol=0)
    assert_close(features, network.forward_head(network.forward_features(images), pre_logits=True))
    assert net.classifier is network.get_classifier()
    assert net.num_features == network.num_features


@every_family
def test_the_classifier_can_be_replaced_or_left_out(small):
    network, images = create(small).eval(), draw_images(small)
    network.reset_classifier(3)
    assert network(images).shape == (4, 3)
    assert network.num_classes == 3
    network.reset_classifier(0)
    assert network(images).shape == (4, network.num_features)
    assert create(small, num_classes=0)(images).shape == (4, network.num_features)
    network.reset_classifier(0, global_pool="")
    assert_close(network(images), network.forward_features(images))


@every_class_of_ours
def test_a_new_classifier_is_of_the_dtype_and_mode_of_the_network(small):
    network = create(small).double().eval()
    network.reset_classifier(3)
    assert network(draw_images(small).double()).dtype == torch.float64
    assert not network.get_classifier().training


@every_family
def test_training_gives_every_parameter_a_finite_gradient(small):
    network = create(small)
    for name, gradient in gradients(network, draw_images(small)).items():
        assert gradient is not None, name
        assert gradient.isfinite().all(), name


@every_family
def test_evaluation_does_not_change_the_network_or_draw_numbers(small):
    network, images = create(small).eval(), draw_images(small)
    before = deepcopy(network.state_dict())
    state = torch.get_rng_state()
    first = network(images)
    assert_close(torch.get_rng_state(), state, rtol=0, atol=0)
    assert_close(network(images), first, rtol=0, atol=0)
    assert_close(network.state_dict(), before, rtol=0, atol=0)
    assert_close(network(images[:1]), first[:1])  # images do not see each other


@every_family
def test_dropout_acts_before_the_classifier(small):
    network, images = create(small, drop_rate=0.5), draw_images(small)
    maps = network.forward_features(images)
    features = network.forward_head(maps, pre_logits=True)
    plain = network.eval().forward_head(maps, pre_logits=True)
    dropped = (features == 0) & (plain != 0)
    assert_close(features[~dropped], 2 * plain[~dropped])
    assert 0.2 < dropped.float().mean() < 0.8


@every_family
def test_images_of_other_sizes_and_channels_are_taken(small):
    network = create(small, in_chans=1).eval()
    smallest = network.default_cfg.get("min_input_size", (3, 32, 32))[1]
    for height, width in ((smallest, smallest), (smallest + 5, smallest + 10), (64, 64)):
        assert network(torch.randn(1, 1, height, width)).shape == (1, NUM_CLASSES)


@every_family
def test_feature_maps_of_each_stage_come_from_timm(small):
    network = create(small, features_only=True).eval()
    maps = network(torch.randn(1, 3, 64, 64))
    reductions = network.feature_info.reduction()
    assert [m.shape[1] for m in maps] == network.feature_info.channels()
    assert [64 // m.shape[2] for m in maps] == reductions == sorted(reductions)
    last = create(small).eval().forward_features(torch.randn(1, 3, 64, 64))
    assert maps[-1].shape == last.shape


@every_family
def test_channels_last_gives_the_same_logits(small):
    network, images = create(small).eval(), draw_images(small)  # dropout goes by memory
    expected = network(images)
    network = network.to(memory_format=torch.channels_last)
    images = images.to(memory_format=torch.channels_last)
    assert_close(network(images), expected)
    maps = network.forward_features(images)
    assert maps.is_contiguous(memory_format=torch.channels_last)


@every_family
def test_checkpointing_gives_the_same_gradients(small):
    network, images = create(small), draw_images(small)
    twin = deepcopy(network)
    twin.set_grad_checkpointing()
    assert_close(gradients(twin, images), gradients(network, images))
    if isinstance(network, semaug.networks.CifarNetwork):  # timm counts each batch twice
        assert_close(dict(twin.named_buffers()), dict(network.named_buffers()), rtol=0, atol=0)


@pytest.mark.full
@every_class_of_ours
def test_compiles_without_a_graph_break(small):
    network, images = create(small), draw_images(small)
    torch._dynamo.reset()  # all classes share one forward, and eight may be compiled
    compiled = torch.compile(deepcopy(network), fullgraph=True, backend="aot_eager")
    expected = gradients(network, images)
    assert_close(without_prefix(gradients(compiled, images)), expected)
    assert_close(without_prefix(dict(compiled.named_buffers())), dict(network.named_buffers()))


@every_family
def test_a_copy_and_saved_weights_give_the_same_logits(small):
    network, images = create(small), draw_images(small)
    network(images)  # changes running statistics
    copy = deepcopy(network)
    torch.manual_seed(3)
    fresh = timm.create_model(small.name, num_classes=NUM_CLASSES, **small.arguments)
    assert not torch.equal(fresh.eval()(images), network.eval()(images))
    fresh.load_state_dict(network.state_dict())
    assert_close(fresh.eval()(images), network(images), rtol=0, atol=0)
    assert_close(copy.eval()(images), network(images), rtol=0, atol=0)
    with torch.no_grad():
        next(copy.parameters()).zero_()
    assert_close(fresh(images), network(images), rtol=0, atol=0)


@every_family
def test_runs_under_bfloat16_autocast(small):
    network, images = create(small), draw_images(small)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = network(images)
    logits.float().logsumexp(1).sum().backward()
    assert logits.dtype == torch.bfloat16
    assert logits.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())
