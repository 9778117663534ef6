"""Tests of semaug.recipe.quick."""

import pytest

from semaug.recipe import quick
from semaug.recipes import RECIPES, find_recipe, make_quick

# Classes and height of the images; of a folder, more classes than most have.
IMAGES = {
    "digits": (10, 8),
    "cifar10": (10, 32),
    "cifar100": (100, 32),
    "imagenet": (1000, None),
    "folder": (1000, None),
}


def cost_of_a_run(recipe):
    """Multiply-adds; a step is as dear as three passes forward, and each epoch ends with a test."""
    num_classes, size = IMAGES[recipe.data]
    networks = (recipe.network, *recipe.method.peers)
    size = size or recipe.augment.image_size
    cost = sum(quick._multiply_adds(name, size) for name in networks)  # counted once, it is slow
    views = 1 if recipe.method.peers else recipe.method.num_views
    train = 3 * views * num_classes * recipe.subset.train_per_class
    return recipe.epochs * cost * (train + recipe.subset.test_images)


@pytest.mark.parametrize("name", RECIPES)
def test_quick_is_quick(name):
    """A minute of two cores is some 6e12 multiply-adds."""
    assert cost_of_a_run(make_quick(find_recipe(name))) < 6.1e12


@pytest.mark.parametrize("name", ["digits_resnet8_isda", "cifar10_5k_resnet20", "cifar10_resnet32"])
def test_what_is_cheap_sees_two_epochs_of_ten_images_of_each_class(name):
    recipe = make_quick(find_recipe(name))
    assert (recipe.epochs, recipe.subset.train_per_class, recipe.subset.test_images) == (2, 10, 500)


def test_what_is_dear_sees_each_class_once():
    recipe = make_quick(find_recipe("cifar100_wide_resnet28_10_wide_resnet28_10_multi_ait"))
    assert (recipe.epochs, recipe.subset.train_per_class, recipe.batch_size) == (1, 1, 32)
    assert 50 < recipe.subset.test_images < 500


def test_pictures_of_files_are_small():
    recipe = make_quick(find_recipe("imagenet_resnext101_32x8d_isda"))
    assert (recipe.augment.image_size, recipe.warmup_epochs) == (64, 0)
