"""Tab completion of commands, options, recipes, fields and their values.

To import what has these names takes seconds, so the first completion keeps them in a file of the
user's cache, and later ones read that file.
"""

import inspect
import json
import os
from contextlib import suppress
from dataclasses import fields
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import typer

import semaug
from semaug.cli.group import COMMANDS, load_command
from semaug.registry import registry_of
from semaug.runs.files import write_text

# Which names the arguments of a command are; other arguments are paths.
_ARGUMENTS = {
    **{name: ["recipes", "fields"] for name in ("train", "check", "search", "show")},
    "compare": ["recipes", "recipes", "fields"],
    "table": ["tables", "fields"],
    "flops": ["networks"],
    "list": ["kinds", "recipes"],
    "data": ["parts of data", "data sets"],
}


def completing(name: str) -> Any:
    """Return what stands for a command while its words are completed; it imports no command."""
    known = _names()

    def complete(ctx: typer.Context, incomplete: str) -> list[str]:
        words = ctx.params.get("words") or []
        return _completions(known, _ARGUMENTS.get(name, []), [*words], incomplete)

    def stand_in(**_: Any) -> None:
        pass

    word = Annotated[list[str] | None, typer.Argument(autocompletion=complete)]
    annotations = {"words": word} | {
        f"option_{place}": Annotated[bool if flag else str | None, typer.Option(option)]
        for place, (option, flag) in enumerate(known["options"][name].items())
    }
    described: Any = stand_in  # typer reads these two
    described.__annotations__ = annotations
    described.__signature__ = inspect.Signature(
        [
            inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=hint)
            for key, hint in annotations.items()
        ]
    )
    app = typer.Typer(add_completion=False)
    app.command(name)(stand_in)
    return typer.main.get_command(app)


def _completions(
    known: dict[str, Any], arguments: list[str], words: list[str], incomplete: str
) -> list[str]:
    """Return what a word may become.

    Args:
        known: Names, as :func:`_collect` gives them.
        arguments: For each argument of the command which names; the last may be repeated.
        words: Those before it.
        incomplete: The word so far.
    """
    values = known["values"]
    if words[-1:] == ["="]:  # bash parts `loss=isda` into three words
        words = words[:-1]
    if words and values.get(words[-1]):
        return [one for one in values[words[-1]] if one.startswith(incomplete)]
    field, equals, value = incomplete.partition("=")
    if equals:
        return [f"{field}={one}" for one in values.get(field, ()) if one.startswith(value)]
    names = known.get(arguments[min(len(words), len(arguments) - 1)], ()) if arguments else ()
    found = [one for one in names if one.startswith(incomplete)]
    return [f"{one}=" for one in found] if names is known["fields"] else found


def _names() -> dict[str, Any]:
    """Return all names: of the cache if it has those of this package as its files are now."""
    package = Path(semaug.__file__).parent
    newest = max(path.stat().st_mtime_ns for path in package.rglob("*.py"))
    key = sha256(f"{package} {newest}".encode()).hexdigest()[:16]
    folder = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "semaug"
    path = folder / f"names-{key}.json"
    with suppress(OSError, ValueError):
        return dict(json.loads(path.read_text()))
    text = json.dumps(_collect())
    with suppress(OSError):  # the next completion is as slow
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("names-*.json"):
            old.unlink()
        write_text(path, text)
    return dict(json.loads(text))


def _collect() -> dict[str, Any]:
    import timm

    from semaug.cli.list import KINDS
    from semaug.published.table import table_names
    from semaug.recipes import recipe_names
    from semaug.registry import data_sets, kinds, networks

    values: dict[str, list[str]] = {"seed": []}
    for kind in kinds.names():
        _add_values(values, kinds.get(kind), set())
    values["network"] = [*dict.fromkeys([*networks.names(), *timm.list_models()])]
    return {
        "recipes": recipe_names(),
        "tables": table_names(),
        "networks": values["network"],
        "data sets": data_sets.names(),
        "parts of data": ["list", "fetch", "check"],
        "kinds": KINDS,
        "values": values,
        "fields": sorted(values),
        "options": {name: _options_of(load_command(name)) for name in COMMANDS},
    }


def _options_of(command: Any) -> dict[str, bool]:
    """Return the options of a command, or of those of a group, and whether each is a flag."""
    parts = getattr(command, "commands", {"": command}).values()
    params = [one for part in parts for one in part.params if one.param_type_name == "option"]
    return {name: bool(one.is_flag) for one in params for name in one.opts}


def _add_values(values: dict[str, list[str]], kind: type, seen: set[type]) -> None:
    """Add the options of a spec, and of all specs that it may have, with the values of each."""
    if kind in seen:
        return
    seen.add(kind)
    hints = get_type_hints(kind)
    for one in fields(kind):
        registry, hint = registry_of(one), hints[one.name]
        names = [] if registry is None else [*registry.names()]
        for part in (hint, *get_args(hint)):
            names += ["true", "false"] if part is bool else []
            names += map(str, get_args(part)) if get_origin(part) is Literal else []
        values[one.name] = [*dict.fromkeys([*values.get(one.name, ()), *names])]
        if registry is not None:
            for name in registry.names():
                _add_values(values, registry.get(name), seen)
