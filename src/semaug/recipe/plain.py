"""Recipes as plain data, as JSON gives it back, and recipes of plain data."""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import fields
from typing import Any

from semaug.errors import UserError, as_user_error
from semaug.outside import is_outside, names_from
from semaug.registry import Registry, kinds, registry_of


def recipe_to_plain_data(recipe: Any) -> dict[str, Any]:
    """Return dicts, lists, numbers and strings only.

    A spec becomes its options and its ``name``, a recipe its options and its ``kind``.

    Raises:
        UserError: If a value is none that JSON has.
    """
    with as_user_error("recipe: expected options that JSON can hold: ", TypeError, ValueError):
        plain = json.dumps({"kind": kinds.name_of(recipe), **_options(recipe)}, allow_nan=False)
    return json.loads(plain)


def _options(spec: Any) -> dict[str, Any]:
    return {
        one.name: spec_to_plain_data(getattr(spec, one.name), registry_of(one))
        for one in fields(spec)
    }


def spec_to_plain_data(value: Any, registry: Registry | None) -> Any:
    """Return the name and the options of a spec, or of several; other values as they are.

    >>> from semaug.registry import evaluations
    >>> spec_to_plain_data(evaluations.make("whole"), evaluations)
    {'name': 'whole', 'mirror': False, 'scales': (1.0,), 'average': 'probabilities'}
    """
    if registry is None or value is None:
        return value
    if isinstance(value, tuple):
        return [spec_to_plain_data(part, registry) for part in value]
    return {"name": registry.name_of(value), **_options(value)}


def recipe_from_plain_data(plain: Mapping[str, Any]) -> Any:
    """Undo :func:`recipe_to_plain_data`; what is absent takes its default. No code is loaded.

    A spec whose default is not what semaug did before it had the option says so by a static method
    ``earlier(plain)``, which completes plain data of runs from then.

    Raises:
        UserError: If a field is unknown, a value out of range, or code was not loaded before.

    >>> from semaug.recipes import find_recipe
    >>> recipe = find_recipe("digits_resnet8_isda")
    >>> recipe_from_plain_data(recipe_to_plain_data(recipe)) == recipe
    True
    """
    options = dict(plain)
    with names_from(None):
        return _rebuilt(kinds.get(options.pop("kind")), options)


def completed(plain: dict[str, Any]) -> dict[str, Any]:
    """Give options that came to semaug after plain data was written their defaults of today.

    Data that cannot be read stays as it is.
    """
    with suppress(AttributeError, LookupError, TypeError, ValueError):
        return recipe_to_plain_data(recipe_from_plain_data(plain))
    return plain


def _rebuilt(kind: Any, plain: Mapping[str, Any]) -> Any:
    plain = kind.earlier(plain) if hasattr(kind, "earlier") else plain
    known = {one.name: registry_of(one) for one in fields(kind)}
    if unknown := sorted(plain.keys() - known):
        raise UserError(
            f"recipe: expected fields that this version knows, got {', '.join(unknown)}"
        )
    return kind(**{name: _made(value, known[name]) for name, value in plain.items()})


def _made(value: Any, registry: Registry | None) -> Any:
    if isinstance(value, list):
        return tuple(_made(part, registry) for part in value)
    if registry is None or value is None:
        return value
    options = dict(value)
    return _rebuilt(registry.get(options.pop("name")), options)


def flat_options(plain: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of plain data at one level, by dotted name.

    The name of a spec is the value of its field.

    >>> flat_options({"epochs": 3, "loss": {"name": "isda", "strength": 0.5}})
    {'epochs': 3, 'loss': 'isda', 'loss.strength': 0.5}
    """
    flat: dict[str, Any] = {}
    for name, value in plain.items():
        if isinstance(value, dict):
            for key, inner in flat_options(value).items():
                flat[name if key == "name" else f"{name}.{key}"] = inner
        else:
            flat[name] = value
    return flat


def typed_names(names: Iterable[str]) -> dict[str, str]:
    """Return what people type for each dotted name of a recipe: the short one where it is clear.

    >>> typed_names(["loss.strength", "loss.ramp", "method.ramp"])
    {'loss.strength': 'strength', 'loss.ramp': 'loss.ramp', 'method.ramp': 'method.ramp'}
    """
    shorts = {name: name.rpartition(".")[2] for name in names}
    all_shorts = [*shorts.values()]
    return {name: short if all_shorts.count(short) == 1 else name for name, short in shorts.items()}


def outside_names(plain: Any) -> Iterator[str]:
    """Yield the names of code from outside in the plain data of a recipe."""
    if isinstance(plain, Mapping):
        for key, value in plain.items():
            if key in ("name", "kind") and isinstance(value, str) and is_outside(value):
                yield value
            yield from outside_names(value)
    elif isinstance(plain, list):
        for value in plain:
            yield from outside_names(value)
