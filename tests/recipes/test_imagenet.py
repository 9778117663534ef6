"""Tests of semaug.recipes.imagenet."""

from semaug.augmentation import Augment
from semaug.engine.optimizers import SGD
from semaug.engine.schedules import Cosine
from semaug.losses import ISDA, CrossEntropy
from semaug.recipes import find_recipe
from semaug.recipes.imagenet import TABLE_1
from semaug.registry import networks

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


def test_settings_are_those_of_appendix_a():
    assert set(TABLE_1) == {f"imagenet_{network}" for network in STRENGTHS}
    for network, strength in STRENGTHS.items():
        recipe = TABLE_1[f"imagenet_{network}"].recipe
        assert networks.name_of(recipe.network) == network
        assert (recipe.epochs, recipe.batch_size) == (300, 512)
        assert recipe.optimizer == SGD(lr=0.2, momentum=0.9, nesterov=True, weight_decay=1e-4)
        assert recipe.schedule == Cosine()
        assert recipe.augment == Augment(image_size=224, padding=0, flip=True)
        assert recipe.loss == CrossEntropy()
        isda = ISDA(strength=strength, covariance="diagonal")
        assert find_recipe(f"imagenet_{network}_isda").loss == isda
