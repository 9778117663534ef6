"""Recipes: functions that return frozen data, one file for each row of results.

>>> from semaug.recipes import find_recipe
>>> find_recipe("cifar10_resnet32_isda").loss.strength
0.5
"""

from dataclasses import replace
from importlib import import_module

from semaug._names import unknown_name
from semaug.training.errors import UserError
from semaug.training.recipe import Augment, Loss, Recipe, Subset

__all__ = [
    "RECIPES",
    "Augment",
    "Loss",
    "Recipe",
    "Subset",
    "describe_recipe",
    "find_recipe",
    "make_quick",
]

RECIPES = (
    "digits_resnet8",
    "digits_resnet8_isda",
    "cifar10_5k_resnet20",
    "cifar10_5k_resnet20_isda",
    "cifar10_resnet32",
    "cifar10_resnet32_isda",
    "cifar100_resnet32",
    "cifar100_resnet32_isda",
    "folder_resnet18",
    "folder_resnet18_isda",
)


def find_recipe(name: str) -> Recipe:
    """Return the recipe of this name.

    Raises:
        UserError: If there is none; the message has the nearest one.
    """
    if name not in RECIPES:
        raise UserError(unknown_name("semaug", "recipe", name, RECIPES))
    recipe: Recipe = import_module(f"semaug.recipes.{name}").recipe()
    return recipe


def describe_recipe(name: str) -> str:
    """Return the first line of the file of a recipe."""
    return (import_module(f"semaug.recipes.{name}").__doc__ or "").partition("\n")[0]


def make_quick(recipe: Recipe) -> Recipe:
    """Shrink a recipe to a look at whether it runs, under a minute on a CPU.

    Two epochs on a few images of each class. What it learns says nothing about the recipe.
    """
    subset = replace(
        recipe.subset,
        train_per_class=min(recipe.subset.train_per_class or 10, 10),
        test_images=500,
    )
    return replace(
        recipe,
        epochs=2,
        warmup_epochs=0,
        subset=subset,
        batch_size=min(recipe.batch_size, 64),
    )
