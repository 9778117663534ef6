"""What training costs, told by its recipe: so that two sides of a comparison can be held equal."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from semaug.recipe.recipe import Recipe

__all__ = ["Work", "count_work", "work_of"]


@dataclass(frozen=True)
class Work:
    """Of a whole run.

    Args:
        optimizer_steps: Changes of the weights.
        images_seen: Images of all epochs, each counted once an epoch however many views it has.
        forward_passes: Pictures that pass through a network in training, each with its backward.
    """

    optimizer_steps: int
    images_seen: int
    forward_passes: int

    def __str__(self) -> str:
        return (
            f"{self.optimizer_steps:,} optimizer steps, {self.images_seen:,} images seen, "
            f"{self.forward_passes:,} forward passes"
        )


def count_work(recipe: Recipe, num_images: int) -> Work:
    """Count what a run takes; tests are not counted.

    Args:
        recipe: What is trained.
        num_images: In the training set.

    >>> from semaug.recipes import find_recipe
    >>> count_work(find_recipe("cifar100_resnet32_single"), 50_000)
    Work(optimizer_steps=62560, images_seen=8000000, forward_passes=8000000)
    >>> count_work(find_recipe("cifar100_resnet32_ait"), 50_000)
    Work(optimizer_steps=125120, images_seen=8000000, forward_passes=16000000)
    """
    images_seen = recipe.epochs * num_images
    return Work(
        optimizer_steps=recipe.epochs * math.ceil(num_images / recipe.batch_size),
        images_seen=images_seen,
        forward_passes=images_seen * recipe.method.passes_per_image,
    )


def work_of(summary: Mapping[str, Any]) -> Work | None:
    """Return what a finished run took; None if its summary, of an early version, does not tell."""
    names = [field.name for field in fields(Work)]
    if not all(name in summary for name in names):
        return None
    return Work(**{name: summary[name] for name in names})
