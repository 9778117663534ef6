"""Tests of semaug.recipes.imagenet."""

import pytest

from semaug.recipes import Augment, Loss, find_recipe
from semaug.recipes.imagenet import TABLE_1

# Typed from Table 1 and Appendix A: networks and their lambda_0.
STRENGTHS = {
    "resnet50": 7.5,
    "resnet101": 5,
    "resnet152": 7.5,
    "densenet121": 1,
    "densenet264": 1,
    "resnext50_32x4d": 7.5,
    "resnext101_32x8d": 7.5,
}


@pytest.mark.parametrize("network", STRENGTHS)
def test_settings_are_those_of_appendix_a(network):
    recipe = find_recipe(f"imagenet_{network}")
    assert (recipe.data, recipe.network) == ("imagenet", network)
    assert (recipe.epochs, recipe.batch_size, recipe.lr) == (300, 512, 0.2)
    assert (recipe.schedule, recipe.weight_decay, recipe.momentum) == ("cosine", 1e-4, 0.9)
    assert recipe.nesterov
    assert recipe.augment == Augment(image_size=224, padding=0, flip=True)
    assert recipe.loss == Loss("cross_entropy")
    isda = find_recipe(f"imagenet_{network}_isda").loss
    assert isda == Loss("isda", STRENGTHS[network], "linear", "diagonal")


def test_every_network_of_table_1_is_there():
    assert len(TABLE_1) == 2 * len(STRENGTHS)
