"""A smoke test of a recipe: ``--quick``."""

from dataclasses import fields, replace
from functools import cache
from typing import Any

import torch

from semaug.analysis import multiply_adds
from semaug.features.probe import PROBE_ERRORS
from semaug.recipe.plan import passes_per_image, streams_of
from semaug.registry import Sizes

__all__ = ["make_quick"]

# Multiply-adds of a whole run, about a minute on two cores. Training gets two thirds.
_TO_TRAIN, _TO_TEST = 4e12, 2e12
_PASSES_OF_A_STEP = 3  # forward, and backward twice as much

_MOST_PER_CLASS = 10
_MOST_TEST_IMAGES = 500
_MOST_CLASSES = 1000  # of a user's own images; how many there are is not known here
_SIDE = 64  # of images in files, which their networks take too
_STEPS = 8  # of a run that counts them


def make_quick(recipe: Any) -> Any:
    """Shrink a recipe to a smoke test of at most a minute on a CPU.

    Two epochs on ten images of each class. Where the networks are dear or the classes many, fewer
    images, down to one of each class and one epoch. Images in files become small. What it learns
    says nothing about the recipe. A recipe of another kind may shrink itself, by ``quick()``.
    """
    if hasattr(recipe, "quick"):
        return recipe.quick()
    data, method = recipe.data, getattr(recipe, "method", None)
    side = getattr(data, "side", None) or 32
    new: dict[str, Any] = {}
    if getattr(data, "in_files", False):
        side = min(getattr(recipe.augment, "image_size", None) or _SIDE, _SIDE)
        new["augment"] = _replace(recipe.augment, image_size=side)
    classes = getattr(data, "num_classes", None) or _MOST_CLASSES
    peers = getattr(method, "peers", ())
    networks = [recipe.network, *peers] if hasattr(recipe, "network") else []
    cost = sum(_multiply_adds(network, side) for network in networks)
    passes = max(passes_per_image(recipe, stream) for stream in streams_of(recipe).values())
    views = passes // (1 + len(peers))
    of_each_class = _PASSES_OF_A_STEP * classes * views * cost
    epochs = 2 if 2 * of_each_class <= _TO_TRAIN else 1
    per_class = max(1, int(_TO_TRAIN / (epochs * max(of_each_class, 1))))
    before = getattr(recipe.subset, "train_per_class", None)
    new["subset"] = _replace(
        recipe.subset,
        train_per_class=min(before or per_class, per_class, _MOST_PER_CLASS),
        test_images=min(int(_TO_TEST / (epochs * max(cost, 1))), _MOST_TEST_IMAGES),
    )
    new["batch_size"] = min(recipe.batch_size, max(2, 64 // passes))
    if hasattr(recipe, "schedule"):
        new["schedule"] = _replace(recipe.schedule, warmup_epochs=0.0)
    length = {"epochs": epochs}
    if recipe.steps is not None:
        length = {"steps": min(recipe.steps, _STEPS), "evaluate_every_steps": _STEPS // 2}
    return replace(recipe, **length, **new)


def _replace(spec: Any, **options: Any) -> Any:
    """Replace the options that a spec has."""
    own = {one.name for one in fields(spec)}
    return replace(spec, **{name: value for name, value in options.items() if name in own})


@cache
def _multiply_adds(network: Any, side: int) -> int:
    """Count those of one image without computing anything; the classifier's are next to none.

    A network that takes no such images, such as one of features, is taken as cheap.
    """
    try:
        with torch.device("meta"):
            built = network.build(Sizes(num_classes=10, image=(3, side, side)))
        return multiply_adds(built, side)
    except PROBE_ERRORS:
        return 0
