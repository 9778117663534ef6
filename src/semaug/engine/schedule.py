"""Learning rates by step. Epochs and percent of a recipe become steps here and nowhere else."""

import math
from collections.abc import Callable

from semaug.recipe.recipe import Recipe

__all__ = ["learning_rate_schedule"]


def learning_rate_schedule(recipe: Recipe, steps_per_epoch: int) -> Callable[[int], float]:
    """Return the function from step, counted from 0, to learning rate.

    ``"step"`` multiplies by ``lr_factor`` at each milestone. ``"cosine"`` falls as half a
    cosine from ``lr`` towards 0, which it would reach one step after the last. In the first
    ``warmup_epochs`` the rate is a share of that: k / K at the k-th of their K steps.

    Args:
        recipe: Says how.
        steps_per_epoch: Steps in an epoch, the shorter last one included.

    >>> recipe = Recipe(data="digits", network="resnet8_cifar", epochs=4, lr=1.0)
    >>> learning_rate = learning_rate_schedule(recipe, steps_per_epoch=2)
    >>> [round(learning_rate(step), 3) for step in range(8)]
    [1.0, 1.0, 1.0, 1.0, 0.1, 0.1, 0.01, 0.01]
    """
    total = recipe.epochs * steps_per_epoch
    num_warmup = round(recipe.warmup_epochs * steps_per_epoch)
    milestones = [round(percent / 100 * total) for percent in recipe.milestones_percent]

    def factor(step: int) -> float:
        if recipe.schedule == "cosine":
            return (1 + math.cos(math.pi * step / total)) / 2
        return recipe.lr_factor ** sum(step >= milestone for milestone in milestones)

    def learning_rate(step: int) -> float:
        warmup = (step + 1) / num_warmup if step < num_warmup else 1.0
        return recipe.lr * factor(step) * warmup

    return learning_rate
