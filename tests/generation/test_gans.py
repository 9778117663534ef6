"""Tests of the methods and networks of semaug.generation, against their equations."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from semaug.errors import UserError
from semaug.generation.acgan import ACGanSpec, Trunk
from semaug.generation.cgan import CGanSpec
from semaug.generation.dcgan import critic_layers, generator_layers
from semaug.generation.gan import PerClass, Shown, entropy_losses
from semaug.generation.infogan import InfoGanSpec
from semaug.generation.wgan import WGanSpec
from semaug.generation.wgan_gp import WGanGPSpec, gradient_norms
from semaug.registry import Sizes, generators

SMALL = Sizes(num_classes=3, image=(3, 8, 8))
OPTIONS = {"z_size": 4, "width": 6, "critic_width": 5}


def build(spec, **options):
    torch.manual_seed(0)
    return spec(**OPTIONS, **options).build(SMALL).double()


def shown(spec, size=2):
    """Batches as the loop draws them: as many of each class, in turns."""
    count = size * SMALL.num_classes
    z = torch.randn(count, OPTIONS["z_size"] + spec.num_codes, dtype=torch.float64)
    labels = torch.arange(SMALL.num_classes).repeat(size)
    real = torch.rand(count, 3, 8, 8, dtype=torch.float64) * 2 - 1
    return Shown(z, labels, real, labels)


# Networks.


def test_networks_of_32_pixels_are_those_of_the_code_of_wasserstein_gan():
    kinds = nn.Conv2d, nn.ConvTranspose2d
    sizes = [
        tuple(m.weight.shape) for m in generator_layers(100, 3, 32, 64) if isinstance(m, kinds)
    ]
    assert sizes == [(100, 256, 4, 4), (256, 128, 4, 4), (128, 64, 4, 4), (64, 3, 4, 4)]
    sizes = [tuple(m.weight.shape) for m in critic_layers(3, 32, 64) if isinstance(m, kinds)]
    assert sizes == [(64, 3, 4, 4), (128, 64, 4, 4), (256, 128, 4, 4), (1, 256, 4, 4)]


def test_the_critic_of_acgan_has_the_convolutions_of_its_table():
    convs = [m for m in Trunk(3, 32, 16, 0.5) if isinstance(m, nn.Conv2d)]
    assert [conv.out_channels for conv in convs] == [16, 32, 64, 128, 256, 512]
    assert [conv.stride[0] for conv in convs] == [2, 1, 2, 1, 2, 1]
    gan = ACGanSpec().build(Sizes(num_classes=10, image=(3, 32, 32)))
    linear, first, *_ = [m for m in gan.generator.layers if hasattr(m, "weight")]
    assert (linear.in_features, linear.out_features, first.out_channels) == (110, 384, 192)


@pytest.mark.parametrize("name", generators.names())
@pytest.mark.parametrize("side", [8, 32])
def test_every_method_makes_images_of_any_class(name, side):
    spec = generators.make(name, **OPTIONS)
    gan = spec.build(Sizes(num_classes=3, image=(3, side, side))).eval()
    z = torch.randn(5, 4 + spec.num_codes)
    images = gan.generator(z, torch.tensor([2, 0, 0, 1, 2]))
    assert images.shape == (5, 3, side, side)
    assert images.abs().max() <= 1
    assert_close(gan.generator(z[3:4], torch.tensor([1])), images[3:4])  # of itself alone


@pytest.mark.parametrize("side", [4, 12, 28])
def test_images_of_other_sizes_are_refused(side):
    with pytest.raises(
        UserError, match=rf"square images of 8, 16, 32, 64, ... pixels .* got {side}"
    ):
        WGanSpec().build(Sizes(num_classes=2, image=(3, side, side)))


def test_generators_side_by_side_are_those_of_each_class():
    generator = PerClass(lambda groups: generator_layers(4, 3, 8, 6, groups=groups), 3).double()
    z, labels = torch.randn(6, 4, dtype=torch.float64), torch.arange(3).repeat(2)
    generator(z, labels)  # gives each its own statistics
    generator.eval()
    order = torch.tensor([4, 0, 5, 3, 1, 2])
    alone = generator(z[order], labels[order])
    together = generator.together(z.view(2, 12)).view(2, 3, 3, 8, 8).flatten(0, 1)
    assert_close(alone, together[order])
    assert not torch.allclose(*generator(z[:1].repeat(2, 1), torch.tensor([0, 1])))


# Losses.


@pytest.mark.parametrize("spec", [WGanSpec, WGanGPSpec])
def test_wasserstein_losses_are_those_of_single_critics(spec):
    gan, batch = build(spec), shown(spec)
    made = gan.constant(batch)
    singles = [critic_layers(3, 8, 5, kernel=k, norm=n) for k, n in [gan_form(spec)] * 3]
    scores = []
    for label, single in enumerate(singles):
        state = {k: v.chunk(3)[label] for k, v in gan.critic.state_dict().items() if v.ndim}
        single.double().load_state_dict(state, strict=False)
        own = slice(label, None, 3)
        scores.append((single(batch.real[own]).mean(), single(made[own]).mean()))
    penalty = 0.0
    if spec is WGanGPSpec:
        torch.manual_seed(1)
        share = torch.rand(6, 1, 1, 1, dtype=torch.float64)
        mixed = (share * batch.real + (1 - share) * made).requires_grad_()
        for label, single in enumerate(singles):
            (slopes,) = torch.autograd.grad(single(mixed[label::3]).sum(), mixed)
            norms = slopes[label::3].flatten(1).norm(dim=1)
            penalty += 10 * (norms - 1).square().mean()
        torch.manual_seed(1)
    losses = gan.critic_losses(batch)
    assert_close(losses.loss, sum(fake - real for real, fake in scores) + penalty)
    estimate = sum(real - fake for real, fake in scores) / 3
    assert_close(losses.logs["critic_estimate"], estimate)
    assert_close(gan.generator_losses(batch).loss, -sum(fake for _, fake in scores))


def gan_form(spec):
    """Return kernel and norm of the critic."""
    return (4, True) if spec is WGanSpec else (5, False)


def test_weights_of_a_critic_are_clipped():
    gan = build(WGanSpec, clip=0.02)
    assert max(p.abs().max() for p in gan.critic.parameters()) > 0.02
    gan.after_critic_step()
    assert max(p.abs().max() for p in gan.critic.parameters()) == 0.02


def test_the_critic_is_trained_for_long_before_the_first_steps_and_every_500th():
    spec = WGanSpec()
    long = [step for step in range(1100) if spec.critic_steps_at(step) == 100]
    assert long == [*range(25), 500, 1000]
    assert {spec.critic_steps_at(step) for step in range(1100)} == {5, 100}
    assert WGanGPSpec().critic_steps_at(0) == 5
    assert spec.quick().critic_steps_at(0) == 5


def test_the_gradient_of_a_linear_score_has_the_norm_of_its_weight():
    weight = torch.randn(1, 12, dtype=torch.float64)
    norms = gradient_norms(
        lambda images: images.flatten(1) @ weight.mT, torch.zeros(2, 3, 2, 2).double()
    )
    assert_close(norms, weight.norm().expand(2))


def test_entropy_losses_are_those_of_logits():
    real, made = torch.randn(2, 5, 1, dtype=torch.float64)
    expected = F.binary_cross_entropy_with_logits(real, torch.ones_like(real))
    expected += F.binary_cross_entropy_with_logits(made, torch.zeros_like(made))
    assert_close(entropy_losses(real, made), expected)
    expected = F.binary_cross_entropy_with_logits(made, torch.ones_like(made))
    assert_close(entropy_losses(None, made), expected)


def test_both_networks_of_cgan_are_told_the_class():
    gan, batch = build(CGanSpec), shown(CGanSpec)
    planes = torch.zeros(6, 3, 8, 8, dtype=torch.float64)
    for place, label in enumerate(batch.labels.tolist()):
        planes[place, label] = 1
    real = gan.critic(torch.cat([batch.real, planes], 1))
    made = gan.critic(torch.cat([gan.constant(batch), planes], 1))
    assert_close(gan.critic_losses(batch).loss, entropy_losses(real, made))
    assert_close(gan.generator_losses(batch).loss, entropy_losses(None, made))


def test_acgan_adds_the_classes_of_real_and_made_images():
    gan, batch = build(ACGanSpec, drop_rate=0.0), shown(ACGanSpec)
    batch = batch._replace(labels=batch.labels.flip(0))
    (_, real, logits), (_, made, others) = map(gan.judge, (batch.real, gan.constant(batch)))
    right = logits.log_softmax(1)[range(6), batch.real_labels].mean()
    told = others.log_softmax(1)[range(6), batch.labels].mean()
    losses = gan.critic_losses(batch)
    assert_close(losses.loss, entropy_losses(real, made) - right - told)
    accuracy = 100 * (logits.argmax(1) == batch.real_labels).double().mean()
    assert losses.logs["class_accuracy"] == accuracy
    assert_close(gan.generator_losses(batch).loss, entropy_losses(None, made) - told)


def test_infogan_adds_what_images_tell_of_their_codes_to_both_losses():
    gan, batch = build(InfoGanSpec, drop_rate=0.0), shown(InfoGanSpec)
    weighted = build(InfoGanSpec, drop_rate=0.0, code_weight=3.0)
    weighted.load_state_dict(gan.state_dict())
    features = gan.judge(gan.constant(batch))[0]
    told = gan.critic["codes"](features)
    expected = ((told - batch.z[:, -2:]) ** 2).sum() / 6 / 2
    for which in ("critic_losses", "generator_losses"):
        difference = getattr(weighted, which)(batch).loss - getattr(gan, which)(batch).loss
        assert_close(difference, 2 * expected)


@pytest.mark.parametrize("name", generators.names())
def test_a_generator_learns_from_a_constant_critic(name):
    spec = generators.make(name, **OPTIONS)
    gan, batch = build(type(spec)), shown(spec)
    gan.critic.requires_grad_(False)
    gan.generator_losses(batch).loss.backward()
    assert all(p.grad.abs().sum() > 0 for p in gan.generator.parameters() if p.ndim > 1)
    gan.critic.requires_grad_(True)
    gan.generator.zero_grad()
    gan.critic_losses(batch).loss.backward()
    assert all(p.grad is None for p in gan.generator.parameters())


@pytest.mark.parametrize(
    ("spec", "options", "message"),
    [
        (CGanSpec, {"z_size": 0}, "`z_size` >= 1, got 0"),
        (CGanSpec, {"lr": 0.0}, "`lr` > 0, got 0"),
        (WGanSpec, {"clip": 0.0}, "`clip` > 0"),
        (WGanSpec, {"warmup_critic_steps": 0}, "`warmup_critic_steps` >= 1"),
        (WGanGPSpec, {"critic_steps": 0}, "`critic_steps` >= 1"),
        (WGanGPSpec, {"penalty": -1.0}, "`penalty` >= 0"),
        (ACGanSpec, {"drop_rate": 1.0}, "`drop_rate` from 0 to below 1"),
        (InfoGanSpec, {"code_weight": -1.0}, "`code_weight` >= 0"),
    ],
)
def test_options_out_of_range_are_named(spec, options, message):
    with pytest.raises(UserError, match=message):
        spec(**options)
