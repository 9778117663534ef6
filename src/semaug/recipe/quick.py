"""What a recipe costs, and a smoke test of it: ``--quick``."""

from contextlib import suppress
from dataclasses import replace
from functools import cache
from typing import Any

import torch

from semaug.analysis import multiply_adds
from semaug.features.probe import PROBE_ERRORS
from semaug.recipe.plan import passes_per_image, streams_of
from semaug.registry import Sizes

# Multiply-adds of a whole run, about a minute on two cores. Training gets two thirds.
_TO_TRAIN, _TO_TEST = 4e12, 2e12
_PASSES_OF_A_STEP = 3  # forward, and backward twice as much

_MOST_PER_CLASS = 10
_MOST_TEST_IMAGES = 500
_MOST_CLASSES = 1000  # of a user's own images; how many there are is not known here
_SIDE = 64  # of images in files, which their networks take too
_USUAL_SIDE = 224  # of images in files, unless the recipe says another
_CROP = 65  # of images with masks
_STEPS = 8  # of a run that counts them


def step_cost(recipe: Any) -> int:
    """Count the multiply-adds of an optimizer step; 0 if they are not known.

    Known are those of networks of semaug and of timm, by the sizes that the recipe names.
    """
    if hasattr(recipe, "step_cost"):
        cost: int = recipe.step_cost()
        return cost
    if not str(type(getattr(recipe, "network", None)).__module__).startswith("semaug."):
        return 0
    augment: Any = getattr(recipe, "augment", None)
    image_size = getattr(augment, "image_size", None)
    if crop := getattr(augment, "size", None):  # of images with masks
        return _PASSES_OF_A_STEP * recipe.batch_size * _costs(recipe, max(crop))[0]
    usual = (image_size or _USUAL_SIDE) if getattr(recipe.data, "in_files", False) else 32
    cost, passes, _ = _costs(recipe, getattr(recipe.data, "side", None) or usual)
    return _PASSES_OF_A_STEP * recipe.batch_size * passes * cost


def make_quick(recipe: Any) -> Any:
    """Shrink a recipe to a smoke test of at most a minute on a CPU.

    Two epochs on ten images of each class, or eight steps. Where the networks are dear or the
    classes many, fewer images, down to one of each class and one epoch. Images in files become
    small. What it learns says nothing about the recipe. A recipe of another kind may shrink
    itself, by ``quick()``.
    """
    if hasattr(recipe, "quick"):
        return recipe.quick()
    data: Any = recipe.data
    augment: Any = getattr(recipe, "augment", None)
    small: dict[str, Any] = {}
    side = getattr(data, "side", None) or 32
    resized = getattr(augment, "image_size", None)
    if resized or (getattr(data, "in_files", False) and hasattr(augment, "image_size")):
        side = min(resized or _SIDE, _SIDE)
        small["augment"] = replace(augment, image_size=side)
    if hasattr(augment, "size"):
        side, in_files = _CROP, getattr(data, "in_files", False)
        small["augment"] = replace(
            augment, size=(side,), **{"shorter_side": side} if in_files else {}
        )
        if hasattr(recipe.evaluation, "window"):
            small["evaluation"] = replace(recipe.evaluation, window=side)
    cost, passes, views = _costs(recipe, side)
    classes = getattr(data, "num_classes", None) or _MOST_CLASSES
    of_each_class = _PASSES_OF_A_STEP * classes * passes * cost
    epochs = 2 if 2 * of_each_class <= _TO_TRAIN else 1
    per_class = max(1, int(_TO_TRAIN / (epochs * max(of_each_class, 1))))
    if hasattr(recipe.subset, "train_per_class"):
        small["subset"] = replace(
            recipe.subset,
            train_per_class=min(
                recipe.subset.train_per_class or per_class, per_class, _MOST_PER_CLASS
            ),
            test_images=min(int(_TO_TEST / (epochs * max(cost, 1))), _MOST_TEST_IMAGES),
        )
    if hasattr(getattr(recipe, "schedule", None), "warmup_epochs"):
        small["schedule"] = replace(recipe.schedule, warmup_epochs=0.0)
    small["batch_size"] = min(recipe.batch_size, max(2, 64 // views))
    if recipe.steps is None:
        return replace(recipe, **small).lasting(epochs=epochs)
    steps = min(recipe.steps, _STEPS)
    return replace(recipe.lasting(steps=steps, evaluate_every_steps=_STEPS // 2), **small)


def _costs(recipe: Any, side: int) -> tuple[int, int, int]:
    """Return what an image costs in all networks together, and how often each of them sees it.

    And what an image counts in a batch.
    """
    peers = getattr(getattr(recipe, "method", None), "peers", ())
    networks = [recipe.network, *peers] if hasattr(recipe, "network") else []
    cost = sum(_multiply_adds(network, side) for network in networks)
    passes = sum(passes_per_image(recipe, stream) for stream in streams_of(recipe).values())
    return cost, passes // (1 + len(peers)), passes


@cache
def _multiply_adds(network: Any, side: int) -> int:
    """Count those of one image without computing anything; the classifier's are next to none.

    None of a network that takes other images, such as features that were kept.
    """
    with suppress(*PROBE_ERRORS), torch.device("meta"):
        return multiply_adds(network.build(Sizes(num_classes=10, image=(3, side, side))), side)
    return 0
