"""Which published number each recipe is to be compared with.

>>> from semaug.published import find_published
>>> (number,) = find_published("isda", 2, row="ResNet-32", column="CIFAR-100, ISDA")
>>> recipe_of(number)
'cifar100_resnet32_isda'
>>> [cell.table for cell in cells_of("cifar100_wide_resnet28_10_cutout")]
['4', '8', '2']
"""

from functools import cache

from semaug._torch.names import unknown_name
from semaug.errors import UserError
from semaug.published import PublishedNumber, load_published
from semaug.recipes import RECIPES

__all__ = ["cells_of", "quantity_of", "recipe_of"]

# What a finished run says about a metric: an error in percent, by its name in the summary.
_TOP1 = "error_mean_last_10"
_ERRORS = {
    "error_percent": _TOP1,
    "top1_error_percent": _TOP1,
    "top5_error_percent": f"top5_{_TOP1}",
    "accuracy_percent": _TOP1,
    "top1_accuracy_percent": _TOP1,
    "top5_accuracy_percent": f"top5_{_TOP1}",
}

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
    None, too, for ImageNet in the NeurIPS paper, which prints other errors for the networks of
    T-PAMI, so that its settings are not those of our recipes.
    """
    if number.metric not in _ERRORS:
        return None
    if number.paper == "ait":
        name = _ait_recipe(number)
        return name if name in RECIPES else None
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


# AIT.

_AIT_METHODS = {"cross_entropy": "single", "ait": "ait", "dml": "dml", "multi_ait": "multi_ait"}
_AIT_NETWORKS = {
    "Resnet32": "resnet32",
    "MobileNetV2": "mobilenetv2",
    "WRN-28-10": "wide_resnet28_10",
}


def _ait_recipe(number: PublishedNumber) -> str:
    """Return the name that a recipe for a number of AIT has, if there is one."""
    network = number.network.removesuffix("_cifar")
    method = _AIT_METHODS.get(number.method, "")
    if number.method in ("dml", "multi_ait"):
        network = "_".join(_AIT_NETWORKS[label] for label in number.row.split(", "))
    percent = number.row.partition("%")[0]
    words = {
        "3": f"corrupt{percent}",
        "4": f"part{percent}",
        "5": "" if number.row == "rp" else number.row.replace(",", "_"),
    }
    parts = (number.data, network, words.get(number.table, ""), method)
    return "_".join(part for part in parts if part)


def quantity_of(number: PublishedNumber) -> str:
    """Say what of a finished run measures a published error or accuracy.

    Returns:
        A name of its summary, which is an error in percent, or ``"transfer SET"``, an accuracy in
        percent on a set of :data:`semaug.transfer.TEST_SETS`; empty if a run does not tell.

    >>> from semaug.published import find_published
    >>> numbers = find_published("ait", 2, row="Resnet32, Resnet32")
    >>> [quantity_of(number) for number in numbers][-2:]
    ['error_mean_last_10', 'error_mean_last_10_2']
    """
    if (number.paper, number.table) == ("ait", "5"):
        return f"transfer {number.column.rpartition(', ')[0].replace(' ', '_')}"
    quantity = _ERRORS.get(number.metric, "")
    return f"{quantity}_2" if quantity and number.column.endswith("Net2") else quantity


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
