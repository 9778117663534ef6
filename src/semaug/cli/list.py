"""``semaug list``: the names that other commands take."""

from collections.abc import Iterable
from typing import Annotated

import typer
from rich.columns import Columns
from rich.console import Console
from rich.text import Text

from semaug import registry
from semaug._torch.names import unknown_name
from semaug.cli.printing import make_table, print_names
from semaug.errors import UserError
from semaug.published.table import table_names
from semaug.recipe.overrides import describe_fields
from semaug.recipes import TABLES, baseline_of, describe_recipe, find_recipe
from semaug.runs.words import say

# By what is listed: the members, and a title.
_REGISTRIES = {
    "methods": (registry.methods, "Methods, for method="),
    "losses": (registry.losses, "Losses, for loss="),
    "networks": (registry.networks, "Networks of the papers, for network=, as any of timm's"),
    "generators": (registry.generators, "Generators of images, for generator="),
    "detectors": (registry.detectors, "Detectors, for detector="),
    "data": (registry.data_sets, "Data sets, for data="),
    "optimizers": (registry.optimizers, "Optimizers, for optimizer=, as any of timm's"),
    "schedules": (registry.schedules, "Schedules of the learning rate, for schedule="),
    "evaluations": (registry.evaluations, "Evaluations, for evaluation="),
    "metrics": (registry.metrics, "Metrics, for metrics="),
}

_FEW = 5  # recipes that have a line each
KINDS = ("recipes", "tables", "recipe", *_REGISTRIES, "all")


def list_command(
    what: Annotated[
        str, typer.Argument(metavar="KIND", help=f"What to list: {', '.join(KINDS)}")
    ] = "all",
    recipe: Annotated[
        str, typer.Argument(metavar="RECIPE", help="Recipe whose fields semaug list recipe prints")
    ] = "digits_resnet8",
) -> None:
    """List the names that other commands take.

    Each recipe of a classifier has a variant with ISDA, whose name ends in _isda, and each name
    may be followed by changes: cifar10_resnet32_isda,strength=0.25. The fields of a recipe have
    value, type and default, and where they differ from those of the recipe without ISDA, or
    without the changes, the value there too.

    [bold]Examples[/bold]

    semaug list losses

    semaug list recipe cifar10_resnet32_ait,optimizer=adamw
    """
    if what not in KINDS:
        raise UserError(unknown_name("list", "kind", what, KINDS))
    console = Console()
    if what in ("recipes", "all"):
        _print_recipes(console)
    if what in ("tables", "all"):
        _print_columns(console, "Tables, for semaug table", table_names())
    if what in ("recipe", "all"):
        _print_fields(console, recipe)
    for name, (members, title) in _REGISTRIES.items():
        if what in (name, "all"):
            shared = ", ".join(members.shared_options())
            print_names(
                console, title + f"; options of all: {shared}" * bool(shared), members.describe()
            )


def _print_fields(console: Console, recipe: str) -> None:
    """Print the options of a recipe: value, what it is, what it takes, default, and baseline."""
    name_of_baseline = baseline_of(recipe)
    baseline = describe_fields(find_recipe(name_of_baseline)) if name_of_baseline else {}
    table = make_table(f"Fields of {recipe}, for field=value", ["", ""], lines=False)
    table.columns[0].no_wrap = True
    for name, told in describe_fields(find_recipe(recipe)).items():
        there = baseline[name].value if name in baseline else "no such field"
        differs = bool(baseline) and there != told.value
        default = "" if told.default in (None, told.value) else f"; default: {told.default}"
        line = Text(f"{told.meaning} ({told.takes}{default})")
        if differs:
            line.append(f" In {name_of_baseline}: {there}", style="bold yellow")
        table.add_row(
            Text(f"{name}={told.value}", style="bold yellow" if differs else "bold"), line
        )
    console.print(table)
    console.print()


def _print_recipes(console: Console) -> None:
    say(console, "NAME_isda is NAME with ISDA; all other changes are NAME,field=value\n")
    for title, table in TABLES.items():
        if len(table) > _FEW:
            _print_columns(console, title, table)
        else:
            print_names(console, title, {name: describe_recipe(name) for name in table})


def _print_columns(console: Console, title: str, names: Iterable[str]) -> None:
    """Print names that say enough by themselves, as many beside each other as fit."""
    console.print(Text(title, style="italic"))
    console.print(Columns([Text(name, style="bold") for name in names], padding=(0, 2)))
    console.print()
