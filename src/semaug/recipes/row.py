"""Recipes that differ in little but network and data set are rows of a table, not files."""

from collections.abc import Sequence
from dataclasses import dataclass

from semaug.recipe.recipe import Recipe

__all__ = ["CIFAR_STRENGTH", "Row", "describe"]

# The papers choose lambda_0 from {0.1, 0.25, 0.5, 0.75, 1} for each network on held-out images,
# and do not print what they chose.
CIFAR_STRENGTH = 0.5


@dataclass(frozen=True)
class Row:
    """A recipe and one line about it."""

    recipe: Recipe
    description: str


def describe(network: str, data: str, loss: str, *augmentations: str) -> str:
    """Say in a sentence what a recipe is.

    >>> describe("ResNet-110", "CIFAR-10", "ISDA", "Cutout")
    'ResNet-110 on CIFAR-10 with Cutout and ISDA.'
    """
    parts: Sequence[str] = (*augmentations, loss)
    return f"{network} on {data} with {' and '.join(parts)}."
