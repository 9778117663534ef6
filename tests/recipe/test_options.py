"""Tests of semaug.recipe.options."""

from typing import get_args, get_type_hints

import pytest

from semaug.augmentation import AutoAugment
from semaug.covariance import KINDS
from semaug.recipe.options import Augment, Loss, Subset


def test_isda_states_the_options_that_were_left_out():
    assert Loss("isda", strength=0.5) == Loss("isda", 0.5, ramp="linear", covariance="full")


def test_every_kind_of_covariance_has_its_word():
    hint = get_type_hints(Loss)["covariance"]
    assert get_args(get_args(hint)[0]) == KINDS


@pytest.mark.parametrize(
    "option",
    [
        {"strength": 0.5},
        {"ramp": "linear"},
        {"covariance": "full"},
        {"memory": 0.9},
        {"num_samples": 5},
    ],
)
def test_options_without_effect_are_refused(option):
    with pytest.raises(
        ValueError, match=f"`{next(iter(option))}` has no effect on the loss 'cross"
    ):
        Loss("cross_entropy", **option)


def test_number_of_draws_is_for_explicit_augmentation_alone():
    message = "`num_samples` has no effect on the loss 'isda'; add loss=explicit and a strength"
    with pytest.raises(ValueError, match=message):
        Loss("isda", strength=0.5, num_samples=5)


@pytest.mark.parametrize("num_samples", [None, 0])
def test_explicit_augmentation_needs_a_number_of_draws(num_samples):
    message = f"expected `num_samples` >= 1 for explicit augmentation, got {num_samples}"
    with pytest.raises(ValueError, match=message):
        Loss("explicit", strength=0.5, num_samples=num_samples)


def test_explicit_augmentation_needs_a_strength():
    with pytest.raises(ValueError, match="`strength` >= 0 for explicit augmentation, got None"):
        Loss("explicit", num_samples=5)


def test_unknown_loss_is_named():
    with pytest.raises(ValueError, match="unknown loss 'idsa'; did you mean 'isda'"):
        Loss("idsa")


@pytest.mark.parametrize("strength", [None, -1, float("nan"), float("inf")])
def test_isda_needs_a_strength(strength):
    with pytest.raises(ValueError, match="expected `strength` >= 0 for ISDA, got"):
        Loss("isda", strength=strength)


@pytest.mark.parametrize(
    ("group", "name", "value"),
    [
        (Subset, "train_per_class", 0),
        (Subset, "hold_out", 0),
        (Subset, "imbalance", 0.5),
        (Subset, "imbalance", float("inf")),
        (Subset, "train_percent", 0.0),
        (Subset, "train_percent", 100.5),
        (Subset, "corrupt_percent", -1.0),
        (Subset, "corrupt_percent", 101.0),
        (Subset, "subset_seed", -1),
        (Subset, "test_images", 0),
        (Augment, "image_size", 0),
        (Augment, "padding", -1),
        (Augment, "grayscale", 1.5),
        (Augment, "cutout", -1),
        (Augment, "mixup", -0.1),
        (Augment, "cutmix", float("inf")),
        (Augment, "jitter", (0.4, 0.4, 0.4, 0.1, 0.1)),
        (Augment, "jitter", (0.4, -0.4)),
        (Augment, "jitter", (0.4, 0.4, 0.4, 0.6)),
    ],
)
def test_numbers_out_of_range_are_named(group, name, value):
    with pytest.raises(ValueError, match=rf"recipe: expected `{name}` .*, got"):
        group(**{name: value})


def test_randaugment_states_the_options_that_were_left_out():
    augment = Augment(policy="randaugment", randaugment_magnitude=0)
    assert (augment.randaugment_ops, augment.randaugment_magnitude) == (2, 0)


@pytest.mark.parametrize("name", ["randaugment_ops", "randaugment_magnitude"])
def test_options_of_randaugment_mean_nothing_to_others(name):
    message = f"`{name}` has no effect without policy=randaugment"
    with pytest.raises(ValueError, match=message):
        Augment(policy="autoaugment_cifar10", **{name: 5})


@pytest.mark.parametrize(("name", "value"), [("randaugment_ops", 0), ("randaugment_magnitude", 31)])
def test_options_of_randaugment_have_a_range(name, value):
    with pytest.raises(ValueError, match=f"expected `{name}` from . to .*, got {value}"):
        Augment(policy="randaugment", **{name: value})


def test_every_policy_of_autoaugment_has_its_word():
    words = get_args(get_args(get_type_hints(Augment)["policy"])[0])
    for word in words:
        if word != "randaugment":
            assert AutoAugment(word.removeprefix("autoaugment_")).num_draws > 0


def test_no_corruption_is_corruption_of_none():
    assert Subset(corrupt_percent=0.0) == Subset()


def test_a_border_without_padding_is_refused():
    with pytest.raises(ValueError, match="`padding_mode` has no effect with padding=0"):
        Augment(padding=0, padding_mode="reflect")


def test_only_training_images_make_a_subset():
    assert not Subset(subset_seed=3, test_images=5).chooses_training_images()
    assert Subset(hold_out=5).chooses_training_images()
