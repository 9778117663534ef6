"""Which published number each recipe is to be compared with.

>>> from semaug.results import find_published
>>> (number,) = find_published("isda", 2, row="ResNet-32", column="CIFAR-100, ISDA")
>>> recipe_of(number)
'cifar100_resnet32_isda'
>>> [cell.table for cell in cells_of("cifar100_wide_resnet28_10_cutout")]
['4', '8', '2']
"""

from functools import cache

from semaug._names import unknown_name
from semaug.recipes import RECIPES
from semaug.results import PublishedNumber, load_published
from semaug.training.errors import UserError

__all__ = ["cells_of", "recipe_of"]

_ERRORS = ("error_percent", "top1_error_percent", "top5_error_percent")

# Parts of the methods of published numbers, and of names of recipes, in the order of a name.
_AUGMENTATIONS = {
    "cutout": "cutout",
    "rand_augment": "randaugment",
    "auto_augment": "autoaugment",
}
_LOSSES = {
    "cross_entropy": "",
    "isda": "isda",
    "isda_identity": "isda_identity",
    "isda_diagonal": "isda_diagonal",
    "isda_shared": "isda_shared",
    "isda_constant_strength": "isda_constant",
}
_WORDS = _AUGMENTATIONS | _LOSSES
# All results with this network are with dropout, whether their row says so or not.
_WITH_DROPOUT = "wide_resnet28_10_cifar"


def recipe_of(number: PublishedNumber) -> str | None:
    """Return the name of the recipe that a published error is a result of.

    None for what is no error, for methods and data without a recipe, and for results by others.
    None, too, for papers whose settings are not those of our recipes: AIT, and ImageNet in the
    NeurIPS paper, which prints other errors for the networks of T-PAMI.
    """
    if number.metric not in _ERRORS or number.paper == "ait":
        return None
    if (number.paper, number.data) == ("isda-neurips", "imagenet"):
        return None
    methods = number.method.split("+")
    if number.network == _WITH_DROPOUT:
        methods = [method for method in methods if method != "dropout"]
    if not all(method in _WORDS for method in methods):
        return None
    words = (number.data, number.network.removesuffix("_cifar"), *map(_WORDS.get, methods))
    name = "_".join(word for word in words if word)
    return name if name in RECIPES else None


def cells_of(name: str) -> tuple[PublishedNumber, ...]:
    """Return the published errors of a recipe, in the order of the papers; often none.

    Raises:
        UserError: If there is no such recipe.
    """
    if name not in RECIPES:
        raise UserError(unknown_name("cells_of", "recipe", name, RECIPES))
    return _cells().get(name, ())


@cache
def _cells() -> dict[str, tuple[PublishedNumber, ...]]:
    cells: dict[str, tuple[PublishedNumber, ...]] = {}
    for number in load_published():
        name = recipe_of(number)
        if name is not None:
            cells[name] = (*cells.get(name, ()), number)
    return cells
