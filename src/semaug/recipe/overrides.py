"""Change options of a recipe by ``name=value``; numbers by ``name=50%`` of the recipe's value.

The dotted name (``loss.strength``) always works; the short one where exactly one group of this
recipe has it.

>>> from semaug.recipes import find_recipe
>>> changed = override(find_recipe("digits_resnet8_isda"), {"epochs": "3", "strength": "0.25"})
>>> changed.epochs, changed.loss.strength
(3, 0.25)
"""

import shlex
import types
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import MISSING, fields, is_dataclass, replace
from difflib import get_close_matches
from fractions import Fraction
from functools import partial
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from semaug.errors import UserError, about
from semaug.outside import short_name
from semaug.recipe.plain import typed_names
from semaug.registry import Registry, describe_options, registry_of

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
    "model": "network",
    "net": "network",
    "noise": "corrupt_percent",
    "randaugment": "policy",
    "ratio": "strength",
    "scheduler": "schedule",
    "warmup": "warmup_epochs",
    "wd": "weight_decay",
    "zca": "whitening",
}
_OF_COMMANDS = ("data_root", "device", "jobs", "quick", "resume", "runs", "threads", "workers")


class _Option(NamedTuple):
    """What may stand at a place of a recipe, and what stands there now.

    Where a choice is new, that is its class, and of its options their defaults.
    """

    hint: Any
    registry: Registry | None
    value: Any

    @property
    def is_choice(self) -> bool:
        """Whether it is one spec."""
        return self.registry is not None and get_origin(self.hint) is not tuple


def split_overrides(texts: Iterable[str]) -> dict[str, str]:
    """Split ``name=value`` texts.

    Raises:
        UserError: If a text has no name or value, or a name is given twice.

    >>> split_overrides(["epochs=3", "loss.strength=0.5"])
    {'epochs': '3', 'loss.strength': '0.5'}
    """
    result: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise UserError(f"semaug: expected FIELD=VALUE, such as epochs=20, got {text!r}")
        if name in result:
            raise UserError(f"semaug: expected `{name}` once, got it twice")
        result[name] = value
    return result


def override(recipe: Any, changes: Mapping[str, str], name: str = "") -> Any:
    """Return the recipe with options replaced, each value read by the type of its field.

    Args:
        recipe: The one to start from.
        changes: As :func:`split_overrides` gives them.
        name: By which people call the recipe, for messages.

    Raises:
        UserError: If a name is unknown, ambiguous or given twice, or a value does not fit.
    """
    with about(f"recipe {name}" if name else "recipe"):
        chosen, options = _choose(recipe, changes)
        texts: dict[str, str] = {}
        for field, text in changes.items():
            dotted = _find(options, field, name)
            if dotted in texts:
                raise UserError(f"recipe: expected `{dotted}` once, got it twice")
            texts[dotted] = text
        typed = typed_names(options)
        values = {
            field: _read(typed[field], text, options[field])
            for field, text in texts.items()
            if not options[field].is_choice
        }
        return _replace(recipe, _changed(recipe, "", chosen, values))


def applicable(recipe: Any, changes: Mapping[str, str], own: Iterable[str] = ()) -> dict[str, str]:
    """Leave out options that this recipe does not have, such as the strength of another loss.

    Args:
        recipe: The one to start from.
        changes: As :func:`split_overrides` gives them.
        own: Names of options that the recipe keeps as they are.

    Raises:
        UserError: If a choice is unknown.
    """
    options = _options(recipe, {})
    kept = {dotted for name in own for dotted in _matches(options, name)}
    rest = {
        name: text
        for name, text in changes.items()
        if not (found := _matches(options, name)) or not kept.issuperset(found)
    }
    options = _choose(recipe, rest)[1]
    return {name: text for name, text in rest.items() if _matches(options, name)}


def takes_list(recipe: Any, changes: Mapping[str, str], name: str, recipe_name: str = "") -> bool:
    """Whether a value of an option has commas itself, as in ``milestones_percent=50,75``.

    Args:
        recipe: The one to start from.
        changes: All of them, for they may choose other specs.
        name: Of the option.
        recipe_name: By which people call the recipe, for messages.

    Raises:
        UserError: If the name is unknown or ambiguous.
    """
    with about(f"recipe {recipe_name}" if recipe_name else "recipe"):
        options = _choose(recipe, {**changes, name: changes[name].partition(",")[0]})[1]
        hint = options[_find(options, name, recipe_name)].hint
    return any(get_origin(kind) is tuple for kind in (hint, *get_args(hint)))


def describe_overrides(recipe: Any, changes: Mapping[str, str], base: Any = None) -> dict[str, str]:
    """Write each changed value of a recipe in one way, however it was given.

    Args:
        recipe: With the changes.
        changes: As :func:`split_overrides` gives them.
        base: The recipe before them, to leave out those that change nothing; None keeps all.

    >>> from semaug.recipes import find_recipe
    >>> changes = {"lr": "1e-1", "milestones_percent": "50,75.0", "nesterov": "TRUE"}
    >>> describe_overrides(override(find_recipe("digits_resnet8,schedule=step"), changes), changes)
    {'lr': '0.1', 'milestones_percent': '50,75', 'nesterov': 'true'}
    """
    options = _options(recipe, {})
    typed = typed_names(options)
    described = {
        typed[dotted]: _as_text(options[dotted].value, options[dotted].registry)
        for name in changes
        for dotted in _matches(options, name)
    }
    return described if base is None else _needed(base, recipe, described)


def _needed(base: Any, recipe: Any, changes: Mapping[str, str]) -> dict[str, str]:
    """Leave out changes without which the same recipe comes of another."""
    kept = dict(changes)
    for name in changes:
        fewer = {other: text for other, text in kept.items() if other != name}
        with suppress(UserError):  # without this one, another may have no meaning
            if override(base, fewer) == recipe:
                kept = fewer
    return kept


class FieldText(NamedTuple):
    """What is told of an option of a recipe.

    Args:
        value: In this recipe, as people type it.
        takes: Which values it takes.
        default: Of its class; None if it has none.
        meaning: What it is, as the documentation of its class says it.
    """

    value: str
    takes: str
    default: str | None
    meaning: str


def describe_fields(recipe: Any) -> dict[str, FieldText]:
    """Describe each option of a recipe, by its dotted name.

    >>> from semaug.recipes import find_recipe
    >>> told = describe_fields(find_recipe("digits_resnet8"))
    >>> told["batch_size"][:3], told["augment.cutout"].meaning
    (('64', 'a whole number', '128'), 'Side of the square hole, in pixels; 0 is none.')
    """
    told: dict[str, FieldText] = {}
    meanings, options = describe_options(type(recipe)), _options(recipe, {})
    for one in fields(recipe):
        hint, registry, value = options[one.name]
        default = None if one.default is MISSING else _as_text(one.default, registry)
        article = "an" if registry and registry.kind[0] in "aeio" else "a"
        takes = f"the name of {article} {registry.kind}" if registry else _takes(hint)
        told[one.name] = FieldText(_as_text(value, registry), takes, default, meanings[one.name])
        if options[one.name].is_choice and value is not None:
            told |= {f"{one.name}.{name}": text for name, text in describe_fields(value).items()}
    return told


# From names to options.


def _options(spec: Any, chosen: Mapping[str, Any], prefix: str = "") -> dict[str, _Option]:
    """Return all options by dotted name, those of the specs that were chosen among them."""
    kind = spec if isinstance(spec, type) else type(spec)
    hints = get_type_hints(kind)
    found: dict[str, _Option] = {}
    for one in fields(kind):
        name, registry = prefix + one.name, registry_of(one)
        value = chosen.get(name, getattr(spec, one.name, None))
        if registry is not None and isinstance(value, str):  # the default of a class
            value = registry.get(value)
        option = found[name] = _Option(hints[one.name], registry, value)
        if option.is_choice and value is not None:
            found |= _options(value, chosen, f"{name}.")
    return found


def _choose(recipe: Any, changes: Mapping[str, str]) -> tuple[dict[str, type], dict[str, _Option]]:
    """Return the classes of specs that are chosen anew, by dotted name, and all options then.

    What is chosen may have choices of its own.
    """
    chosen: dict[str, type] = {}
    while True:
        options = _options(recipe, chosen)
        before = len(chosen)
        for name, text in changes.items():
            for dotted in _matches(options, name):
                option = options[dotted]
                if option.is_choice and option.registry is not None:
                    kind = option.registry.get(text)
                    if kind not in (option.value, type(option.value)):
                        chosen[dotted] = kind
        if len(chosen) == before:
            return chosen, options


def _find(options: Mapping[str, _Option], name: str, recipe_name: str) -> str:
    found = _matches(options, name)
    if len(found) == 1:
        return found[0]
    if found:
        raise UserError(
            f"recipe: `{name}` is a field of several groups of this recipe; "
            f"expected {' or '.join(found)}"
        )
    if name in ("seed", "seeds"):
        raise UserError(
            f"recipe: `{name}` is no field of a recipe; train takes seed=1 as a word of its own, "
            "as in semaug train NAME seed=1; compare, search and table take --seeds"
        )
    if name in _OF_COMMANDS:
        raise UserError(
            f"recipe: `{name}` is no field of a recipe; commands take --{name.replace('_', '-')}"
        )
    see = f"see: semaug list recipe {shlex.quote(recipe_name) if recipe_name else 'RECIPE'}"
    if name.lower() in _SYNONYMS:
        meant = " or ".join(map(repr, _SYNONYMS[name.lower()].split(" or ")))
        raise UserError(f"recipe: unknown field {name!r}; did you mean {meant}? {see}")
    group, _, short = name.rpartition(".")
    owners = _owners(options, group)
    if short in owners:
        raise UserError(
            f"recipe: this recipe has no field {name!r}; add {' or '.join(owners[short])}"
        )
    inside = [dotted for dotted in options if group and dotted.startswith(f"{group}.")]
    shorts = {dotted if group else dotted.rpartition(".")[2] for dotted in options}
    near = get_close_matches(short, owners, n=1, cutoff=0.8)
    if near and not get_close_matches(name, shorts):
        raise UserError(
            f"recipe: unknown field {name!r}; did you mean {near[0]!r} of "
            f"{' or '.join(owners[near[0]])}? {see}"
        )
    if inside:  # a group that exists says nothing about which of its fields is meant
        similar = get_close_matches(short, [dotted.rpartition(".")[2] for dotted in inside], n=1)
        similar = [f"{group}.{one}" for one in similar]
    else:
        similar = get_close_matches(name, sorted(shorts), n=1)
    hint = f"did you mean {similar[0]!r}? " if similar else ""
    raise UserError(f"recipe: unknown field {name!r}; {hint}{see}")


def _matches(options: Mapping[str, _Option], name: str) -> list[str]:
    name = name.removesuffix(".name")  # what plain data calls the choice itself
    if name in options:
        return [name]
    return [dotted for dotted in options if dotted.rpartition(".")[2] == name]


def _owners(options: Mapping[str, _Option], group: str) -> dict[str, list[str]]:
    """Name the choices that would bring each option, such as loss=isda for strength."""
    owners: dict[str, list[str]] = {}
    for field, option in options.items():
        if option.is_choice and option.registry is not None and group in ("", field):
            for member in option.registry.names():
                for one in fields(option.registry.get(member)):
                    owners.setdefault(one.name, []).append(f"{field}={member}")
    return owners


# From options to the recipe.


def _changed(
    spec: Any, prefix: str, chosen: Mapping[str, type], values: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the new values of the fields of a spec, or of a class that is chosen anew."""
    new: dict[str, Any] = {}
    for one in fields(spec):
        name, registry = prefix + one.name, registry_of(one)
        inside = any(key.startswith(f"{name}.") for key in (*chosen, *values))
        if name in values:
            new[one.name] = values[name]
        elif registry is not None and (name in chosen or inside):
            old: Any = getattr(spec, one.name, None)
            if name in chosen:
                kind = chosen[name]
                options = _inherited(old, kind) | _changed(kind, f"{name}.", chosen, values)
                new[one.name] = registry.make(registry.name_of(kind), **options)
            else:
                old = registry.make(old) if isinstance(old, str) else old
                new[one.name] = _replace(old, _changed(old, f"{name}.", chosen, values))
    return new


def _replace(spec: Any, options: Mapping[str, Any]) -> Any:
    """Replace options; a spec whose options depend on each other says how, by ``changed``."""
    return getattr(spec, "changed", partial(replace, spec))(**options)


def _inherited(old: Any, kind: type) -> dict[str, Any]:
    """Keep options of a base class that the old spec and the new one share, such as warm-up.

    Those for which the new one has a default of its own are left out, such as learning rates.
    """
    own = {one.name: one.default for one in fields(kind)}
    shared = [base for base in type(old).__mro__[1:] if base in kind.__mro__ and is_dataclass(base)]
    names = {one.name for base in shared for one in fields(base) if one.default == own[one.name]}
    return {name: getattr(old, name) for name in names}


def _as_text(value: Any, registry: Registry | None = None) -> str:
    if isinstance(value, tuple):
        return ",".join(_as_text(part, registry) for part in value) or "none"
    if registry is not None and value is not None and not isinstance(value, str):
        return short_name(registry.name_of(value))
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    return str(value).lower() if isinstance(value, bool | None) else str(value)


# From text to values.


def _read(name: str, text: str, option: _Option) -> Any:
    if option.registry is not None:
        parts = [] if text == "none" else text.split(",")
        return tuple(option.registry.make(part) for part in parts)
    if text.endswith("%"):
        return _share(name, text, option.value)
    # Any text is a string, so that comes last.
    for kind in sorted(_kinds(option.hint), key=lambda kind: kind is str):
        with suppress(KeyError, ValueError):
            return _parse(text, kind)
    raise UserError(f"recipe: expected `{name}` to be {_takes(option.hint)}, got {text!r}")


def _kinds(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def _takes(hint: Any) -> str:
    return " or ".join(map(_in_words, _kinds(hint)))


def _share(name: str, text: str, whole: Any) -> int | float:
    """Return a part of what an option is in the recipe: 30 of 100 epochs for ``30%``."""
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


def _parse(text: str, kind: Any) -> Any:
    if kind is types.NoneType:
        return {"none": None}[text.lower()]
    if kind is bool:
        return {"true": True, "false": False}[text.lower()]
    if get_origin(kind) is Literal:
        return {str(choice): choice for choice in get_args(kind)}[text]
    if get_origin(kind) is tuple:
        parts = [] if text.lower() == "none" else text.split(",")
        return tuple(_parse(part, get_args(kind)[0]) for part in parts)
    return {int: int, float: float, str: str}[kind](text)


def _in_words(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return " or ".join(repr(choice) for choice in get_args(kind))
    if get_origin(kind) is tuple:
        return f"{_in_words(get_args(kind)[0])} or several with commas between"
    words = {
        types.NoneType: "'none'",
        bool: "'true' or 'false'",
        int: "a whole number",
        float: "a number",
        str: "a word",
    }
    return words.get(kind, "set in Python")
