"""Recipes: frozen data, one for each row of results.

A recipe is a function, or, where recipes differ in nothing but a few words, a row of a table in
code. What only changes an option has no name of its own: it is ``NAME,field=value``. ``NAME_isda``
is ``NAME,loss=isda`` with the strength of its table.

>>> find_recipe("cifar10_resnet32_isda").loss.strength
0.5
>>> find_recipe("cifar10_resnet32_isda,covariance=diagonal,epochs=10").loss.covariance
'diagonal'
"""

import inspect
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from semaug._torch.names import unknown_name
from semaug.errors import UserError, as_user_error
from semaug.outside import is_outside, names_from
from semaug.recipe.overrides import describe_overrides, override, split_overrides
from semaug.recipe.quick import make_quick
from semaug.recipe.recipe import BaseRecipe
from semaug.recipes import (
    ait,
    cifar,
    detection,
    digits,
    finetune,
    folder,
    generation,
    imagenet,
    segmentation,
    semi_supervised,
    small,
)
from semaug.recipes.row import Row
from semaug.registry import recipes
from semaug.runs.folder import read_recipe
from semaug.runs.run import Run

__all__ = [
    "TABLES",
    "baseline_of",
    "describe_recipe",
    "find_recipe",
    "make_run",
    "recipe_names",
    "split_name",
]

_ISDA = "_isda"
_WRITTEN = ".json"  # how the name of a recipe ends that a run has written

# What is listed together, by title.
TABLES: dict[str, Mapping[str, Row]] = {
    "Small, for two CPU cores": digits.RECIPES
    | small.RECIPES
    | semi_supervised.SMALL
    | generation.SMALL,
    "A folder of your own photographs": folder.RECIPES,
    "Fine-tuning on a few images of CIFAR": finetune.RECIPES,
    "Segmentation of CamVid, for two CPU cores": segmentation.CAMVID,
    "Detection in CamVid, for two CPU cores": detection.CAMVID,
    "CIFAR, T-PAMI Table 2 and NeurIPS Table 1": cifar.TABLE_2,
    "CIFAR with more augmentation, T-PAMI Table 4 and NeurIPS Table 2": cifar.TABLE_4,
    "ImageNet, T-PAMI Table 1": imagenet.TABLE_1,
    "Generators of images, for T-PAMI Table 5": generation.GENERATORS,
    "Semi-supervised learning, T-PAMI Table 6": semi_supervised.TABLE_6,
    "Segmentation of Cityscapes, T-PAMI Table 7": segmentation.TABLE_7,
    "Detection in COCO, T-PAMI Tables 11 and 12": detection.TABLE_11,
    "AIT, Table 1": ait.TABLE_1,
}
for _table in TABLES.values():
    for _name, _row in _table.items():
        recipes.register(_name)(_row)  # type: ignore[type-var]


def split_name(text: str) -> tuple[str, dict[str, str]]:
    """Part the name of a recipe from changes, as they stand in the name of a run's folder.

    Raises:
        UserError: If a change has no value, or is given twice.

    >>> split_name("digits_resnet8,loss=isda,milestones_percent=50,75")
    ('digits_resnet8', {'loss': 'isda', 'milestones_percent': '50,75'})
    >>> split_name("runs/digits_resnet8,lr=0.2/seed0/recipe.json,epochs=9")
    ('runs/digits_resnet8,lr=0.2/seed0/recipe.json', {'epochs': '9'})
    """
    file, end, rest = text.rpartition(_WRITTEN)
    name, *changes = re.split(r",(?=[^,=]+=)", rest)  # a value may be a list with commas
    return file + end + name, split_overrides(changes)


def find_recipe(text: str) -> Any:
    """Return the recipe of this name, with its changes.

    Args:
        text: ``NAME``, ``NAME_isda``, ``my_file.py:name``, ``package.module:name`` or the path of
            the ``recipe.json`` of a run, and behind it perhaps ``,field=value`` several times.

    Raises:
        UserError: If there is none; the message has the nearest one.
    """
    name, changes = split_name(text)
    row, isda = _find_row(name)
    recipe = override(row.recipe, {"loss": "isda", **(row.isda or {})}) if isda else row.recipe
    return override(recipe, changes, name)


def baseline_of(text: str) -> str | None:
    """Return the name of the recipe that another is a change of; None if it stands alone.

    Raises:
        UserError: If there is no such recipe.

    >>> baseline_of("digits_resnet8_isda,lr=0.2"), baseline_of("digits_resnet8_isda")
    ('digits_resnet8_isda', 'digits_resnet8')
    """
    name, changes = split_name(text)
    if changes:
        return name
    if (written := _written(name)) is not None:
        return None if is_outside(written.name) else written.name
    return name.removesuffix(_ISDA) if _find_row(name)[1] else None


def make_run(
    recipe: Any,
    changes: Mapping[str, str],
    seed: int | None,
    quick: bool,
    runs: Path,
    *,
    name: str = "recipe",
    trust_code: bool = False,
) -> Run:
    """Describe a run; its folder is the same however changes are given.

    Args:
        recipe: A name as :func:`find_recipe` takes it, or a recipe.
        changes: More of them, as :func:`split_overrides` gives them; a part such as ``50%`` is one
            of what ``recipe`` says.
        seed: Of the run; None is that of a ``recipe.json``, and else 0.
        quick: Whether it is a smoke test, which ``changes`` may enlarge again.
        runs: Folder of all runs.
        name: Of a recipe that has none.
        trust_code: Whether code that a run keeps beside its ``recipe.json`` may be executed.

    Raises:
        UserError: If a name is unknown, a change does not fit, or a ``recipe.json`` is damaged.

    >>> changes = {"epochs": "10%", "optimizer.lr": "1e-1"}
    >>> make_run("digits_resnet8,epochs=60", changes, 0, False, Path("runs")).label
    'digits_resnet8,epochs=6'
    """
    start, own = Run(name, recipe), dict[str, str]()
    if isinstance(recipe, str):
        name, own = split_name(recipe)
        start = _written(name, trust_code) or Run(name, find_recipe(name))
    base = start.recipe
    recipe = override(override(base, own, name), changes, name)
    if quick and not start.quick:
        whole = {field: value for field, value in changes.items() if not value.endswith("%")}
        base, recipe = make_quick(base), override(make_quick(recipe), whole, name)
    described = describe_overrides(recipe, start.overrides)
    described |= describe_overrides(recipe, {**own, **changes}, base)
    seed = start.seed if seed is None else seed
    return Run(start.name, recipe, seed, described, quick or start.quick, runs)


def _written(name: str, trust_code: bool = False) -> Run | None:
    """Return the run of a ``recipe.json``; None if this is the name of a recipe."""
    path = Path(name).expanduser()
    return read_recipe(path, trust_code=trust_code) if path.suffix == _WRITTEN else None


def _find_row(name: str) -> tuple[Row, bool]:
    """Return the row of a name, and whether its loss is to be ISDA."""
    if (written := _written(name)) is not None:
        return Row(written.recipe, f"What {name} says."), False
    known = () if is_outside(name) else recipes.names()
    base = name.removesuffix(_ISDA)
    is_twin = name not in known and base in known
    has_none = is_twin and getattr(recipes.get(base), "isda", {}) is None
    if has_none or not (is_outside(name) or name in known or is_twin):
        if "=" in name:
            raise UserError(f"semaug: expected the name of a recipe, got the change {name!r}")
        if (recipe_of_run := Path(name).expanduser() / "recipe.json").exists():
            raise UserError(
                f"semaug: expected the name of a recipe, got the folder {name!r} of a run; the "
                f"recipe of this run is {recipe_of_run}"
            )
        raise UserError(
            unknown_name("semaug", "recipe", name, recipe_names(), listed_by="semaug list recipes")
        )
    found = recipes.get(base if is_twin else name)
    if isinstance(found, Row):
        return found, is_twin
    recipe = found
    if inspect.isfunction(found):
        with as_user_error(f"{name}: expected a function without arguments: ", TypeError):
            inspect.signature(found).bind()
        with names_from(Path(inspect.getfile(found)).parent):
            recipe = found()
    if not isinstance(recipe, BaseRecipe):
        raise UserError(f"{name}: expected a recipe, or a function that returns one, got {found!r}")
    return Row(recipe, (inspect.getdoc(found) or name).partition("\n")[0]), is_twin


def recipe_names() -> tuple[str, ...]:
    """Return the names of all recipes, those of classifiers with their twins with ISDA."""
    return tuple(
        f"{name}{end}"
        for name in recipes.names()
        for end in ("", *(() if getattr(recipes.get(name), "isda", {}) is None else (_ISDA,)))
    )


def describe_recipe(name: str) -> str:
    """Return one line about a recipe.

    Raises:
        UserError: If there is none.

    >>> describe_recipe("cifar10_resnet32_ait_isda")
    'ResNet-32 on CIFAR-10 with AIT and ISDA.'
    """
    row, isda = _find_row(name)
    return row.description.replace("cross-entropy", "ISDA") if isda else row.description
