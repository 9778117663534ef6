"""Change fields of a recipe by ``name=value``, strictly; numbers by ``name=50%`` of what they were.

>>> from semaug.recipes import find_recipe
>>> override(find_recipe("digits_resnet8_isda"), {"epochs": "3", "strength": "0.25"}).loss
Loss(name='isda', strength=0.25, ramp='linear', covariance='full', memory=None, num_samples=None)
"""

import inspect
import re
import types
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import fields, is_dataclass, replace
from fractions import Fraction
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from semaug._torch.names import unknown_name
from semaug.errors import UserError
from semaug.recipe.recipe import Augment, Loss, Method, Recipe

__all__ = [
    "OPTIONS",
    "describe_fields",
    "describe_overrides",
    "override",
    "split_overrides",
]

# Options that a recipe has only with some losses or methods.
OPTIONS = {
    group: tuple(field.name for field in fields(kind) if field.name != "name")
    for group, kind in {"loss": Loss, "method": Method}.items()
}

_HINTS = get_type_hints(Recipe)
# Groups of options, such as loss, augment and subset, and the group of each of their fields.
_GROUPS: dict[str, Any] = {name: hint for name, hint in _HINTS.items() if is_dataclass(hint)}
_GROUP_OF = {
    field.name: name
    for name, group in _GROUPS.items()
    for field in fields(group)
    if field.name != "name"
}
_TYPES = _HINTS | {
    name: hint for group in _GROUPS.values() for name, hint in get_type_hints(group).items()
}
# These stand for their names; other groups have none.
_NAMED = ("loss", "method")
_FIELDS = _HINTS.keys() - _GROUPS.keys() | _GROUP_OF.keys() | set(_NAMED)
_DOTTED = {f"{group}.{name}": name for name, group in _GROUP_OF.items()} | {
    f"{group}.name": group for group in _NAMED
}
# Names that people bring from elsewhere and that spelling alone does not lead to ours.
_SYNONYMS = {
    "alpha": "strength",
    "arch": "network",
    "autoaugment": "policy",
    "bs": "batch_size",
    "color_jitter": "jitter",
    "crop": "padding",
    "dataset": "data",
    "dropout": "block_drop_rate",
    "droprate": "block_drop_rate",
    "ema": "ema_decay",
    "fraction": "train_percent",
    "gamma": "lr_factor",
    "grad_clip": "clip_norm",
    "holdout": "hold_out",
    "lambda": "strength or ai_weight",  # of ISDA and of AIT
    "lambda_0": "strength",
    "learning_rate": "lr",
    "mirror": "flip",
    "model": "network",
    "net": "network",
    "noise": "corrupt_percent",
    "optimizer": "momentum",
    "randaugment": "policy",
    "ratio": "strength",
    "scheduler": "schedule",
    "steps": "epochs",
    "warmup": "warmup_epochs",
    "wd": "weight_decay",
    "zca": "whitening",
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
    own: dict[str, Any] = {}
    inner: dict[str, dict[str, Any]] = {name: {} for name in _GROUPS}
    for name, text in changes.items():
        if name in _NAMED:
            inner[name]["name"] = text
        else:
            target = inner[_GROUP_OF[name]] if name in _GROUP_OF else own
            share = text.endswith("%")
            target[name] = _share(recipe, name, text) if share else _parse(name, text, _TYPES[name])
    groups = {name: _changed(getattr(recipe, name), inner[name]) for name in _GROUPS}
    return replace(recipe, **groups, **own)


def _changed(group: Any, changes: dict[str, Any]) -> Any:
    """Replace options of a group; those of a former loss mean nothing to another one."""
    if isinstance(group, Loss | Method) and changes.get("name", group.name) != group.name:
        return type(group)(**changes)
    if isinstance(group, Augment) and changes.get("policy", group.policy) != group.policy:
        changes = {"randaugment_ops": None, "randaugment_magnitude": None, **changes}
    return replace(group, **changes)


def describe_overrides(
    recipe: Recipe, changes: Mapping[str, str], base: Recipe | None = None
) -> dict[str, str]:
    """Write each changed value of a recipe in one way, however it was given.

    Args:
        recipe: With the changes.
        changes: As :func:`split_overrides` gives them.
        base: The recipe before them, to leave out those that change nothing; None keeps all.

    >>> from semaug.recipes import find_recipe
    >>> changes = {"lr": "1e-1", "milestones_percent": "50,75.0", "nesterov": "TRUE"}
    >>> describe_overrides(override(find_recipe("digits_resnet8"), changes), changes)
    {'lr': '0.1', 'milestones_percent': '50,75', 'nesterov': 'true'}
    """
    kept = changes if base is None else _needed(base, recipe, changes)
    return {name: _as_text(_value(recipe, name)) for name in kept}


def _needed(base: Recipe, recipe: Recipe, changes: Mapping[str, str]) -> Mapping[str, str]:
    """Leave out changes without which the same recipe comes of another."""
    kept = dict(changes)
    for name in changes:
        fewer = {other: text for other, text in kept.items() if other != name}
        with suppress(UserError):  # without this one, another may have no meaning
            if override(base, fewer) == recipe:
                kept = fewer
    return kept


def describe_fields() -> dict[str, str]:
    """Return what each field means, as the recipe's own documentation says it.

    >>> describe_fields()["cutout"]
    'Side of the square hole, in pixels; 0 is none.'
    """
    texts: dict[str, str] = {}
    for group in (Recipe, *_GROUPS.values()):
        texts |= _arguments(inspect.getdoc(group) or "")
    own = {name: texts[name] for name in _HINTS if name in _FIELDS}
    return own | {name: texts[name] for name in _GROUP_OF}


def _arguments(documentation: str) -> dict[str, str]:
    """Read the part `Args:` of a docstring: the text of each argument, without markup."""
    section = documentation.partition("Args:\n")[2].partition("\n\n")[0]
    entries = re.split(r"^    (?=\w)", section, flags=re.MULTILINE)[1:]
    pairs = (entry.partition(": ") for entry in entries)
    return {
        name: re.sub(r"`+|:class:", "", " ".join(text.split())).replace("None", "none")
        for name, _, text in pairs
    }


def _value(recipe: Recipe, name: str) -> Any:
    if name in _NAMED:
        return getattr(recipe, name).name
    return getattr(getattr(recipe, _GROUP_OF[name]) if name in _GROUP_OF else recipe, name)


def _as_text(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(_as_text(part) for part in value) or "none"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    return str(value).lower() if isinstance(value, bool | None) else str(value)


def _field_of(name: str) -> str:
    if name in _FIELDS:
        return name
    if name in _DOTTED:
        return _DOTTED[name]
    if name in _GROUPS:
        inside = ", ".join(field.name for field in fields(_GROUPS[name]))
        raise UserError(f"recipe: expected a field, got the group {name!r}; its fields: {inside}")
    if name.lower() in _SYNONYMS:
        meant = " or ".join(map(repr, _SYNONYMS[name.lower()].split(" or ")))
        raise UserError(f"recipe: unknown field {name!r}; did you mean {meant}?")
    choices = _DOTTED if "." in name else _FIELDS  # each field once
    raise UserError(unknown_name("recipe", "field", name, choices))


def _parse(name: str, text: str, hint: Any) -> Any:
    kinds = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    for kind in kinds:
        try:
            return _parse_one(text, kind)
        except (KeyError, ValueError):
            continue
    wanted = " or ".join(_in_words(kind) for kind in kinds)
    raise UserError(f"recipe: expected `{name}` to be {wanted}, got {text!r}")


def _share(recipe: Recipe, name: str, text: str) -> int | float:
    """Return a part of what a field is in the recipe: 30 of 100 epochs for ``30%``."""
    whole = _value(recipe, name)
    if isinstance(whole, bool) or not isinstance(whole, int | float):
        raise UserError(
            f"recipe: expected `{name}` to be a number in this recipe, for {text} of it, "
            f"got {_as_text(whole)}"
        )
    try:
        part = Fraction(text.removesuffix("%")) / 100 * Fraction(str(whole))
    except (ValueError, ZeroDivisionError) as error:
        raise UserError(
            f"recipe: expected `{name}` to be percent, such as 50%, got {text!r}"
        ) from error
    if isinstance(whole, float):
        return float(part)
    if part.denominator != 1:
        raise UserError(
            f"recipe: expected a whole number as `{name}`, got {text} of {whole}, {float(part):g}"
        )
    return int(part)


def _parse_one(text: str, kind: Any) -> Any:
    if kind is types.NoneType:
        return {"none": None}[text.lower()]
    if kind is bool:
        return {"true": True, "false": False}[text.lower()]
    if get_origin(kind) is Literal:
        return {choice: choice for choice in get_args(kind)}[text]
    if get_origin(kind) is tuple:
        parts = [] if text.lower() == "none" else text.split(",")
        return tuple(get_args(kind)[0](part) for part in parts)
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
