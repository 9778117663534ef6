"""Tests of semaug.augmentation.auto_augment and its policies."""

import pytest
import torch
from torchvision.transforms import AutoAugment as Reference
from torchvision.transforms import AutoAugmentPolicy

from semaug.augmentation import AutoAugment, RandAugment, operations
from semaug.augmentation.policies import POLICIES
from tests.references.pillow import transform_by_images


def auto_augment_by_images(images, draws, policy, fill=None):
    """Have torchvision take the decisions of the draws instead of its own."""

    def transform(row):
        reference = Reference(AutoAugmentPolicy(policy), fill=fill)
        decisions = int(row[0] * 25), row[1:3], (row[3:] >= 0.5).int()
        reference.get_params = lambda transform_num: decisions
        return reference

    return transform_by_images(images, [transform(row) for row in draws])


def test_policies_are_those_of_torchvision():
    assert list(POLICIES) == ["cifar10", "svhn", "imagenet"]
    for name, pairs in POLICIES.items():
        wanted = Reference(AutoAugmentPolicy(name)).policies
        assert pairs == [
            tuple((what, probability, level or 0) for what, probability, level in pair)
            for pair in wanted
        ]


@pytest.mark.usefixtures("either_path")
@pytest.mark.parametrize("policy", POLICIES)
def test_equals_torchvision_image_by_image(many, generator, policy):
    augment = AutoAugment(policy)
    draws = augment.draw(len(many), generator)
    assert torch.equal(augment(many, draws), auto_augment_by_images(many, draws, policy))


@pytest.mark.usefixtures("either_path")
@pytest.mark.parametrize("fill", [128, (10, 20, 30)])
def test_what_lies_outside_may_have_any_color(many, generator, fill):
    augment = AutoAugment(fill=fill)
    draws = augment.draw(len(many), generator)
    wanted = auto_augment_by_images(many, draws, "cifar10", fill if fill == 128 else list(fill))
    assert torch.equal(augment(many, draws), wanted)
    assert not torch.equal(AutoAugment()(many, draws), wanted)


@pytest.mark.parametrize("policy", POLICIES)
def test_draws_at_their_limits_decide_as_in_torchvision(images, policy):
    """Zero applies even what has probability 0, as there; the largest draw the last pair."""
    limits = torch.cartesian_prod(*[torch.tensor([0.0, 1 - 2**-24])] * 5)
    images = images[:32]
    actual = AutoAugment(policy)(images, limits)
    assert torch.equal(actual, auto_augment_by_images(images, limits, policy))


@pytest.mark.parametrize("policy", POLICIES)
def test_operations_are_as_likely_as_the_policy_says(generator, monkeypatch, policy):
    halves = []

    def record(images, operations, choice, fill):
        halves.append([operations[k] for k in choice.tolist()])
        return images

    monkeypatch.setattr(operations, "apply_operations", record)
    count = 20_000
    images = torch.zeros(1, 3, 1, 1, dtype=torch.uint8).expand(count, -1, -1, -1)
    AutoAugment(policy)(images, AutoAugment(policy).draw(count, generator))
    for half, seen in enumerate(halves):
        for negative in (False, True):
            for name in {pair[half][0] for pair in POLICIES[policy]}:
                share = sum(p[half][1] for p in POLICIES[policy] if p[half][0] == name) / 50
                times = sum(o.name == name and o.negative == negative for o in seen)
                deviation = (count * share * (1 - share)) ** 0.5
                assert abs(times - count * share) <= 5 * deviation


def test_an_unknown_policy_is_named():
    with pytest.raises(ValueError, match="one of 'cifar10', 'svhn', 'imagenet'; got 'cifar'"):
        AutoAugment("cifar")


@pytest.mark.parametrize("kind", [AutoAugment, RandAugment])
def test_wrong_colors_are_named(images, generator, kind):
    with pytest.raises(TypeError, match=f"{kind.__name__}: expected `fill` to be a number or a t"):
        kind(fill="gray")
    with pytest.raises(ValueError, match=f"{kind.__name__}: expected finite `fill`, got inf"):
        kind(fill=float("inf"))
    for fill, message in ((256, "from 0 to 255 for images of bytes"), ((1, 2), "each of 3 channe")):
        augment = kind(fill=fill)
        with pytest.raises(ValueError, match=f"{kind.__name__}: expected `fill` .*{message}"):
            augment(images, augment.draw(len(images), generator))


def test_wrong_images_and_draws_are_named(images, generator):
    augment = AutoAugment()
    draws = augment.draw(40, generator)
    with pytest.raises(TypeError, match=r"`images` of dtype torch.uint8, got torch.float32"):
        augment(images.float(), draws)
    with pytest.raises(ValueError, match=r"shape \(N, 3, H, W\), got \(40, 1, 12, 10\)"):
        augment(images[:, :1], draws)
    with pytest.raises(ValueError, match=r"`draws` of shape \(N=40, 5\), got \(40, 4\)"):
        augment(images, draws[:, 1:])
    with pytest.raises(TypeError, match=r"`draws` of a floating-point dtype, got torch.int64"):
        augment(images, draws.long())
