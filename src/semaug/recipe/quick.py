"""A look at whether a recipe runs: ``--quick``."""

from dataclasses import replace
from functools import cache

from semaug.recipe.recipe import Recipe

__all__ = ["make_quick"]

# Multiply-adds of a whole run, about a minute on two cores. Training gets two thirds.
_TO_TRAIN, _TO_TEST = 4e12, 2e12
_PASSES_OF_A_STEP = 3  # forward, and backward twice as much

_MOST_PER_CLASS = 10
_MOST_TEST_IMAGES = 500
_SIDE = 64  # of images in files, which their networks take too

_IN_FILES = ("folder", "imagenet")
_NUM_CLASSES = {"cifar100": 100, "tiny_imagenet": 200, "imagenet": 1000}
_NUM_CLASSES["folder"] = 1000  # or fewer; what a user has is not known here
_SIDES = {"digits": 8, "tiny_imagenet": 64}


def make_quick(recipe: Recipe) -> Recipe:
    """Shrink a recipe to a look at whether it runs, about a minute on a CPU at most.

    Two epochs on ten images of each class. Where the networks are dear or the classes many, fewer
    images, down to one of each class and one epoch. Images in files become small. What it learns
    says nothing about the recipe.
    """
    augment, side = recipe.augment, _SIDES.get(recipe.data, 32)
    if recipe.data in _IN_FILES:
        side = min(augment.image_size or _SIDE, _SIDE)
        augment = replace(augment, image_size=side)
    classes = _NUM_CLASSES.get(recipe.data, 10)
    networks = (recipe.network, *recipe.method.peers)
    cost = sum(_multiply_adds(name, side) for name in networks)
    views = recipe.method.passes_per_image // len(networks)
    of_each_class = _PASSES_OF_A_STEP * classes * views * cost
    epochs = 2 if 2 * of_each_class <= _TO_TRAIN else 1
    per_class = max(1, int(_TO_TRAIN / (epochs * of_each_class)))
    subset = replace(
        recipe.subset,
        train_per_class=min(recipe.subset.train_per_class or per_class, per_class, _MOST_PER_CLASS),
        test_images=min(int(_TO_TEST / (epochs * cost)), _MOST_TEST_IMAGES),
    )
    return replace(
        recipe,
        epochs=epochs,
        warmup_epochs=0,
        augment=augment,
        subset=subset,
        batch_size=min(recipe.batch_size, max(2, 64 // recipe.method.passes_per_image)),
    )


@cache
def _multiply_adds(network: str, side: int) -> int:
    """Count those of one image, without computing anything; the classifier's are next to none."""
    import timm  # slow
    import torch

    import semaug.networks  # noqa: F401 (registers ours with timm)
    from semaug.analysis import multiply_adds

    with torch.device("meta"):
        built = timm.create_model(network)
    return multiply_adds(built, side)
