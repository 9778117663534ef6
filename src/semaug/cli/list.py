"""``semaug list``: the names that other commands take."""

from collections.abc import Iterable
from typing import Annotated

import typer
from rich.columns import Columns
from rich.console import Console
from rich.text import Text

from semaug._torch.names import unknown_name
from semaug.cli.printing import print_names
from semaug.data import DATA_SETS
from semaug.errors import UserError
from semaug.networks import NETWORKS
from semaug.published.table import table_names
from semaug.recipe.overrides import describe_fields
from semaug.recipe.recipe import LOSSES, METHODS
from semaug.recipes import SINGLE_RECIPES, TABLES, describe_recipe

__all__ = ["list_command"]

_KINDS = ("recipes", "tables", "fields", "methods", "losses", "networks", "data", "all")


def list_command(
    what: Annotated[
        str,
        typer.Argument(metavar="KIND", help=f"What to list: {', '.join(_KINDS)}"),
    ] = "all",
) -> None:
    """List the names that other commands take."""
    if what not in _KINDS:
        raise UserError(unknown_name("list", "kind", what, _KINDS))
    console = Console()
    if what in ("recipes", "all"):
        descriptions = {name: describe_recipe(name) for name in SINGLE_RECIPES}
        print_names(console, "Recipes, for semaug train", descriptions)
        for title, table in TABLES.items():
            _print_columns(console, title, table)
    if what in ("tables", "all"):
        _print_columns(console, "Tables, for semaug table", table_names())
    if what in ("fields", "all"):
        print_names(console, "Fields of a recipe, for field=value", describe_fields())
    if what in ("methods", "all"):
        print_names(console, "Methods, for method=", METHODS)
    if what in ("losses", "all"):
        print_names(console, "Losses, for loss=", LOSSES)
    if what in ("networks", "all"):
        print_names(console, "Networks of the papers, for network=, as any of timm's", NETWORKS)
    if what in ("data", "all"):
        descriptions = {name: source.description for name, source in DATA_SETS.items()}
        print_names(console, "Data sets, for data=", descriptions)


def _print_columns(console: Console, title: str, names: Iterable[str]) -> None:
    """Print names that say enough by themselves, as many beside each other as fit."""
    console.print(Text(title, style="italic"))
    console.print(Columns([Text(name, style="bold") for name in names], padding=(0, 2)))
    console.print()
