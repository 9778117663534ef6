"""Change fields of a recipe by ``name=value``, strictly.

>>> from semaug.recipes import find_recipe
>>> override(find_recipe("digits_resnet8_isda"), {"epochs": "3", "strength": "0.25"}).loss
Loss(name='isda', strength=0.25, ramp='linear', covariance='full', memory=None)
"""

import types
from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from semaug._names import unknown_name
from semaug.training.errors import UserError
from semaug.training.recipe import Loss, Recipe

__all__ = ["LOSS_OPTIONS", "describe_overrides", "override", "split_overrides"]

LOSS_OPTIONS = tuple(field.name for field in fields(Loss) if field.name != "name")

_FIELDS = {field.name for field in fields(Recipe)}
_LOSS_FIELDS = {f"loss.{field.name}" for field in fields(Loss)}
# Names that people bring from elsewhere and that spelling alone does not lead to ours.
_SYNONYMS = {
    "alpha": "strength",
    "arch": "network",
    "bs": "batch_size",
    "crop": "padding",
    "dataset": "data",
    "gamma": "lr_factor",
    "lambda": "strength",
    "lambda_0": "strength",
    "learning_rate": "lr",
    "mirror": "flip",
    "model": "network",
    "net": "network",
    "optimizer": "momentum",
    "ratio": "strength",
    "scheduler": "schedule",
    "steps": "epochs",
    "wd": "weight_decay",
}


def split_overrides(texts: Iterable[str]) -> dict[str, str]:
    """Split ``name=value`` texts; ``loss.strength`` becomes ``strength``, ``loss`` its name.

    Raises:
        UserError: If a text has no name or value, or a field is unknown or given twice.

    >>> split_overrides(["epochs=3", "loss.strength=0.5"])
    {'epochs': '3', 'strength': '0.5'}
    """
    result: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise UserError(f"recipe: expected `field=value`, such as epochs=20, got {text!r}")
        name = _field_of(name)
        if name in result:
            raise UserError(f"recipe: expected `{name}` once, got it twice")
        result[name] = value
    return result


def override(recipe: Recipe, changes: Mapping[str, str]) -> Recipe:
    """Return the recipe with fields replaced, each value read by the type of its field.

    Args:
        recipe: The one to start from.
        changes: As :func:`split_overrides` gives them.

    Raises:
        UserError: If a value does not fit its field.
    """
    hints, loss_hints = get_type_hints(Recipe), get_type_hints(Loss)
    loss = recipe.loss
    loss_changes: dict[str, Any] = {}
    own_changes: dict[str, Any] = {}
    for name, text in changes.items():
        if name == "loss":
            loss_changes["name"] = text
        elif name in LOSS_OPTIONS:
            loss_changes[name] = _parse(name, text, loss_hints[name])
        else:
            own_changes[name] = _parse(name, text, hints[name])
    if loss_changes.get("name", loss.name) != loss.name:
        loss = Loss(**loss_changes)  # options of the former loss mean nothing to another
    else:
        loss = replace(loss, **loss_changes)
    return replace(recipe, loss=loss, **own_changes)


def describe_overrides(recipe: Recipe, changes: Mapping[str, str]) -> dict[str, str]:
    """Write each changed value of a recipe in one way, however it was given.

    >>> from semaug.recipes import find_recipe
    >>> changes = {"lr": "1e-1", "milestones_percent": "50,75.0", "nesterov": "TRUE"}
    >>> describe_overrides(override(find_recipe("digits_resnet8"), changes), changes)
    {'lr': '0.1', 'milestones_percent': '50,75', 'nesterov': 'true'}
    """
    loss = {"loss": recipe.loss.name}
    loss |= {option: getattr(recipe.loss, option) for option in LOSS_OPTIONS}
    return {
        name: _as_text(loss[name] if name in loss else getattr(recipe, name)) for name in changes
    }


def _as_text(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(_as_text(part) for part in value)
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    return str(value).lower() if isinstance(value, bool | None) else str(value)


def _field_of(name: str) -> str:
    if name == "loss.name":
        return "loss"
    known = _FIELDS | _LOSS_FIELDS | set(LOSS_OPTIONS)
    if name in known:
        return name.removeprefix("loss.")
    if name.lower() in _SYNONYMS:
        raise UserError(
            f"recipe: unknown field {name!r}; did you mean {_SYNONYMS[name.lower()]!r}?"
        )
    raise UserError(unknown_name("recipe", "field", name, known))


def _parse(name: str, text: str, hint: Any) -> Any:
    kinds = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    for kind in kinds:
        try:
            return _parse_one(text, kind)
        except (KeyError, ValueError):
            continue
    wanted = " or ".join(_in_words(kind) for kind in kinds)
    raise UserError(f"recipe: expected `{name}` to be {wanted}, got {text!r}")


def _parse_one(text: str, kind: Any) -> Any:
    if kind is types.NoneType:
        return {"none": None}[text.lower()]
    if kind is bool:
        return {"true": True, "false": False}[text.lower()]
    if get_origin(kind) is Literal:
        return {choice: choice for choice in get_args(kind)}[text]
    if get_origin(kind) is tuple:
        return tuple(get_args(kind)[0](part) for part in text.split(","))
    return kind(text)


def _in_words(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return " or ".join(repr(choice) for choice in get_args(kind))
    if get_origin(kind) is tuple:
        return "numbers with commas between"
    words = {
        types.NoneType: "'none'",
        bool: "'true' or 'false'",
        int: "a whole number",
        float: "a number",
    }
    return words.get(kind, "a word")
