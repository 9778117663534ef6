"""Arguments and options that several commands share, and the run that they describe."""

import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields, is_dataclass
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from semaug.data import DATA_SETS
from semaug.data.official import open_official
from semaug.data.registry import data_root as find_root
from semaug.engine.torchrun import num_processes
from semaug.errors import UserError
from semaug.recipe.method_options import options_of_method
from semaug.recipe.options import options_of_loss
from semaug.recipe.overrides import (
    OPTIONS,
    describe_overrides,
    override,
    split_overrides,
)
from semaug.recipes import find_recipe, make_quick
from semaug.runs.run import Run

__all__ = [
    "DataRoot",
    "Overrides",
    "Quick",
    "RecipeName",
    "Runs",
    "changes_for",
    "check_changes",
    "check_files",
    "make_run",
    "one_process",
    "split_seed",
    "with_options",
]

RecipeName = Annotated[
    str, typer.Argument(metavar="RECIPE", help="See: semaug list recipes", show_default=False)
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[FIELD=VALUE]...",
        help="Change fields of the recipe, such as epochs=20 lr=50%; see: semaug list fields",
        show_default=False,
    ),
]
Quick = Annotated[
    bool, typer.Option("--quick", help="Shrink to two epochs on few images: does it run at all?")
]
DataRoot = Annotated[
    Path | None,
    typer.Option(help="Folder of the data sets. Else SEMAUG_DATA, else data", show_default=False),
]
Runs = Annotated[Path, typer.Option(help="Folder that keeps all runs")]

# Options that commands take in groups, by the names of their fields.
_DECLARED: dict[str, Any] = {
    "data_root": DataRoot,
    "device": Annotated[str, typer.Option(help="auto, cpu or cuda")],
    "threads": Annotated[
        int | None,
        typer.Option(
            min=1,
            help="CPU threads, part of what makes runs equal bit for bit. Else what torch chooses",
            show_default=False,
        ),
    ],
    "workers": Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Processes that decode images in files; changes no result. Else cores - 1",
            show_default=False,
        ),
    ],
    "checkpoint_seconds": Annotated[
        float, typer.Option(min=0, help="Save at least this often, besides after each epoch")
    ],
    "jobs": Annotated[int, typer.Option(min=1, help="Runs that are trained side by side")],
    "cluster": Annotated[
        str | None,
        typer.Option(
            help="Train as jobs of slurm, --jobs of them at once; local tries the same on this "
            "machine",
            show_default=False,
        ),
    ],
    "cluster_option": Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            help="What a job asks for, as submitit calls it, such as slurm_partition=gpu, "
            "gpus_per_node=1 or timeout_min=600; may be repeated",
            show_default=False,
        ),
    ],
}


def with_options(*, leave_out: Sequence[str] = ()) -> Callable[[Callable[..., None]], Any]:
    """Let a command take the fields of a dataclass as options.

    Each keyword argument of the command whose type is a dataclass, such as
    ``options: TrainOptions``, becomes one option a field, and is put together of them.

    Args:
        leave_out: Fields that keep their defaults, and are no options.
    """

    def decorate(command: Callable[..., None]) -> Any:
        signature = inspect.signature(command)
        own, shared = [], []
        groups: dict[str, tuple[Any, list[str]]] = {}
        for parameter in signature.parameters.values():
            if not is_dataclass(parameter.annotation):
                own.append(parameter)
                continue
            taken = [
                field
                for field in fields(parameter.annotation)
                if field.name in _DECLARED and field.name not in leave_out
            ]
            groups[parameter.name] = parameter.annotation, [field.name for field in taken]
            shared += [
                parameter.replace(
                    name=field.name, default=field.default, annotation=_DECLARED[field.name]
                )
                for field in taken
            ]

        @wraps(command)
        def call(**arguments: Any) -> None:
            for name, (group, names) in groups.items():
                arguments[name] = group(**{field: arguments.pop(field) for field in names})
            command(**arguments)

        described: Any = call  # typer reads these two
        described.__signature__ = signature.replace(parameters=[*own, *shared])
        described.__annotations__ = {one.name: one.annotation for one in (*own, *shared)}
        return described

    return decorate


def make_run(name: str, changes: dict[str, str], seed: int, quick: bool, runs: Path) -> Run:
    """Look up a recipe and apply what was changed about it."""
    recipe = find_recipe(name)
    if quick:
        recipe = make_quick(recipe)
    changed = override(recipe, changes)
    return Run(name, changed, seed, describe_overrides(changed, changes, recipe), quick, runs)


def split_seed(texts: list[str], option: int | None) -> tuple[dict[str, str], int]:
    """Take ``seed=N`` out of the overrides; it is no field, for a recipe has no seed."""
    given = [text.partition("=")[2] for text in texts if text.partition("=")[0] == "seed"]
    rest = split_overrides(text for text in texts if text.partition("=")[0] != "seed")
    if len(given) + (option is not None) > 1:
        raise UserError("semaug: expected one seed, got several")
    if not given:
        return rest, option or 0
    if not given[0].isdecimal():
        raise UserError(f"semaug: expected `seed` to be a whole number >= 0, got {given[0]!r}")
    return rest, int(given[0])


def changes_for(name: str, changes: dict[str, str]) -> dict[str, str]:
    """Leave out options that the loss or the method of this recipe does not have."""
    recipe = find_recipe(name)
    own = {
        "loss": options_of_loss(changes.get("loss", recipe.loss.name)),
        "method": options_of_method(changes.get("method", recipe.method.name)),
    }
    return {
        field: value
        for field, value in changes.items()
        if all(field in own[group] or field not in options for group, options in OPTIONS.items())
    }


def check_changes(changes: Iterable[str], chosen: Iterable[Iterable[str]]) -> None:
    """Check that each changed field is changed for some recipe.

    Args:
        changes: Names of fields.
        chosen: What of them :func:`changes_for` chose for each recipe.

    Raises:
        UserError: If none of the recipes has the field.
    """
    taken = {field for fields in chosen for field in fields}
    for field in changes:
        if field not in taken:
            raise UserError(f"recipe: `{field}` has no effect on any of these recipes")


def check_files(runs: Iterable[Run], data_root: Path | None) -> None:
    """Find out before anything is trained whether the files of its data sets are there.

    Only official files are looked for; nothing is read.

    Raises:
        FileNotFoundError: If one is missing; the message says how to get it.
    """
    root = find_root(data_root)
    for name in {run.recipe.data for run in runs if not run.has_begun}:
        files = DATA_SETS[name].files if name in DATA_SETS else None
        for file in files.md5 if files else ():
            if files and not (root / files.folder / file).is_file():
                with open_official(files, root, file):  # raises the error that says what mends it
                    pass


def one_process(command: str, instead: str = "") -> None:
    """Check that torchrun has not started several processes.

    Raises:
        UserError: If it has.
    """
    if num_processes() > 1:
        remedy = f"; {instead}" if instead else ""
        raise UserError(f"{command}: expected one process, got several from torchrun{remedy}")
