"""Recipes: frozen data, one for each row of results.

Each is a file with a function, or, where recipes differ in nothing but a few words, a row of a
table: :mod:`semaug.recipes.cifar`, :mod:`semaug.recipes.imagenet`, :mod:`semaug.recipes.ait`
and :mod:`semaug.recipes.small`.

>>> from semaug.recipes import find_recipe
>>> find_recipe("cifar10_resnet32_isda").loss.strength
0.5
"""

from collections.abc import Mapping
from importlib import import_module

from semaug._torch.names import unknown_name
from semaug.errors import UserError
from semaug.recipe.quick import make_quick
from semaug.recipe.recipe import Augment, Loss, Method, Recipe, Subset
from semaug.recipes import ait, cifar, imagenet, small
from semaug.recipes.row import Row

__all__ = [
    "RECIPES",
    "SINGLE_RECIPES",
    "TABLES",
    "Augment",
    "Loss",
    "Method",
    "Recipe",
    "Subset",
    "describe_recipe",
    "find_recipe",
    "make_quick",
]

# The tables of the papers, and what each has to say: names of recipes that they generate.
TABLES: dict[str, Mapping[str, Row]] = {
    "CIFAR, T-PAMI Table 2 and NeurIPS Table 1": cifar.TABLE_2,
    "CIFAR with more augmentation, T-PAMI Table 4 and NeurIPS Table 2": cifar.TABLE_4,
    "Ablations, T-PAMI Table 8 and NeurIPS Table 5": cifar.TABLE_8,
    "Draws of features and learned covariances, T-PAMI Fig. 10": cifar.FIGURE_10,
    "Strengths, T-PAMI Fig. 11": cifar.FIGURE_11,
    "ImageNet, T-PAMI Table 1": imagenet.TABLE_1,
    "AIT, Table 1 and fair baselines": ait.TABLE_1,
    "AIT, Table 2: two networks": ait.TABLE_2,
    "AIT, Table 3: corrupted labels": ait.TABLE_3,
    "AIT, Table 4: parts of ImageNet": ait.TABLE_4,
    "AIT, Table 5: augmentations": ait.TABLE_5,
    "AIT, Fig. 3: layers and metrics": ait.FIGURE_3,
    "AIT, Fig. 4: weights": ait.FIGURE_4,
    "Table 8, Figs. 10 and 11 of ISDA in small, for two CPU cores": small.SMALL,
    "Tables 1 and 5 of AIT in small": small.SMALL_AIT,
}
_ROWS = {name: row for table in TABLES.values() for name, row in table.items()}

# Those that have a file each.
SINGLE_RECIPES = (
    "digits_resnet8",
    "digits_resnet8_isda",
    "cifar10_5k_resnet20",
    "cifar10_5k_resnet20_isda",
    "folder_resnet18",
    "folder_resnet18_isda",
)

RECIPES = (*SINGLE_RECIPES, *_ROWS)


def find_recipe(name: str) -> Recipe:
    """Return the recipe of this name.

    Raises:
        UserError: If there is none; the message has the nearest one.
    """
    if name in _ROWS:
        return _ROWS[name].recipe
    if name not in SINGLE_RECIPES:
        raise UserError(unknown_name("semaug", "recipe", name, RECIPES))
    recipe: Recipe = import_module(f"semaug.recipes.{name}").recipe()
    return recipe


def describe_recipe(name: str) -> str:
    """Return one line about a recipe.

    >>> describe_recipe("cifar10_resnet32_isda")
    'ResNet-32 on CIFAR-10 with ISDA.'
    """
    if name in _ROWS:
        return _ROWS[name].description
    return (import_module(f"semaug.recipes.{name}").__doc__ or "").partition("\n")[0]
