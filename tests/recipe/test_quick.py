"""Tests of semaug.recipe.quick."""

from dataclasses import dataclass, replace

import pytest
from torch import nn

from semaug.recipe import BaseRecipe, quick
from semaug.recipe.plan import make_plan, stream_plan, streams_of
from semaug.recipe.quick import make_quick
from semaug.recipes import find_recipe, recipe_names
from semaug.runs.work import count_work

TOGETHER = "cifar100_wide_resnet28_10_single,method=multi_ait,peers=wide_resnet28_10_cifar"


def cost_of_a_run(recipe):
    """Multiply-adds; a step is as dear as three passes forward, and each epoch ends with a test."""
    num_classes = getattr(recipe.data, "num_classes", None) or 1000  # more than most folders have
    peers = getattr(recipe.method, "peers", ())
    augment = recipe.augment  # of images with masks crops have a size
    side = getattr(recipe.data, "side", None) or getattr(augment, "size", (0,))[0]
    side = side or augment.image_size
    cost = sum(quick._multiply_adds(one, side) for one in (recipe.network, *peers))  # is cached
    num_images = num_classes * recipe.subset.train_per_class
    streams = {
        name: stream_plan(recipe, stream, num_images) for name, stream in streams_of(recipe).items()
    }
    plan = make_plan(recipe, streams)
    passes = count_work(recipe, plan).forward_passes // (1 + len(peers))
    return cost * (3 * passes + plan.epochs * recipe.subset.test_images)


def test_quick_is_quick():
    """A minute of two cores is some 6e12 multiply-adds."""
    for name in (*recipe_names(), TOGETHER):
        if not hasattr(find_recipe(name), "network"):
            continue  # it shrinks itself
        assert cost_of_a_run(make_quick(find_recipe(name))) < 6.1e12, name


@pytest.mark.parametrize("name", ["digits_resnet8_isda", "cifar10_5k_resnet20", "cifar10_resnet32"])
def test_what_is_cheap_sees_two_epochs_of_ten_images_of_each_class(name):
    recipe = make_quick(find_recipe(name))
    assert (recipe.epochs, recipe.subset.train_per_class, recipe.subset.test_images) == (2, 10, 500)
    assert make_quick(recipe) == recipe


def test_what_is_dear_sees_each_class_once():
    recipe = make_quick(find_recipe(TOGETHER))
    assert (recipe.epochs, recipe.subset.train_per_class, recipe.batch_size) == (1, 1, 32)
    assert 50 < recipe.subset.test_images < 500


def test_pictures_of_files_are_small():
    recipe = make_quick(find_recipe("imagenet_resnext101_32x8d_isda,warmup_epochs=5"))
    assert (recipe.augment.image_size, recipe.schedule.warmup_epochs) == (64, 0)


def test_a_run_of_steps_takes_a_few():
    recipe = find_recipe("digits_resnet8,steps=1000,evaluate_every_steps=100,warmup_percent=5")
    small = make_quick(recipe)
    assert (small.steps, small.evaluate_every_steps, small.epochs) == (8, 4, None)
    assert small.schedule.warmup_percent == 5
    assert make_quick(recipe.lasting(steps=3)).steps == 3


def test_another_kind_of_recipe_shrinks_itself_or_its_data_and_length():
    class Own:
        def quick(self):
            return "smaller"

    assert make_quick(Own()) == "smaller"
    small = make_quick(BaseRecipe(data="digits", epochs=30, batch_size=640))
    assert (small.epochs, small.batch_size, small.subset.train_per_class) == (2, 64, 10)


@dataclass(frozen=True)
class OfFeatures:
    """A linear classifier of features that were kept."""

    def build(self, sizes):
        return nn.Sequential(nn.Flatten(), nn.Linear(7, sizes.num_classes))


def test_a_network_that_takes_no_images_is_taken_to_be_cheap():
    recipe = replace(find_recipe("cifar100_wide_resnet28_10"), network=OfFeatures())
    small = make_quick(recipe)
    assert (small.epochs, small.subset.train_per_class, small.subset.test_images) == (2, 10, 500)


def test_what_else_a_recipe_says_stays():
    recipe = find_recipe("cifar10_resnet32_ait_isda,cutout=8,ema_decay=0.5")
    small = make_quick(recipe)
    assert small == replace(
        recipe, epochs=small.epochs, subset=small.subset, batch_size=small.batch_size
    )
