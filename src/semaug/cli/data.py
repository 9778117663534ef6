"""``semaug data``: which data sets there are, fetching and checking their files."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from semaug._torch.names import unknown_name
from semaug.cli.group import Command, Subgroup
from semaug.cli.options import DataRoot
from semaug.cli.printing import make_table
from semaug.data import LoadError
from semaug.data.check import CheckReport, PartReport, check
from semaug.data.fetch import fetch
from semaug.data.registry import data_root as find_root
from semaug.errors import UserError, about, as_user_error
from semaug.recipe.overrides import override, split_overrides
from semaug.registry import data_sets
from semaug.runs.words import counted, say

data_command = typer.Typer(
    name="data",
    cls=Subgroup,
    help="List, fetch and check data sets.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

SetName = Annotated[
    str,
    typer.Argument(
        metavar="NAME", help="Name of a data set; see: semaug data list", show_default=False
    ),
]

_MOST_PROBLEMS = 20  # that are printed


@data_command.command("list", cls=Command)
def list_sets(data_root: DataRoot = None) -> None:
    """List the data sets, and which of them lie in the data root."""
    console, root = Console(), find_root(data_root)
    title = f"Data sets, for data=; files in {root}"
    table = make_table(title, ["name", "files", "what it is"], lines=False)
    for name, description in data_sets.describe().items():
        state, files = "", data_sets.get(name).files
        if files is not None:
            paths = [root / files.folder / file for file in files.md5 or ("",)]
            state = "found" if all(path.exists() for path in paths) else "missing"
        table.add_row(Text(name, style="bold"), state, Text(description))
    console.print(table)


@data_command.command("fetch", cls=Command)
def fetch_set(name: SetName, data_root: DataRoot = None) -> None:
    """Download what is missing or damaged of a data set.

    After a stop at any moment, files are whole or absent. A folder of very many files is read
    completely; if a file is missing or damaged, the whole folder is put in place anew, and the old
    folder is kept beside it.

    [bold]Example[/bold]

    semaug data fetch cifar10 --data-root data
    """
    console = Console()
    with about("data fetch"), as_user_error("", ValueError, LoadError):
        placed = fetch(name, data_root, report=lambda line: say(console, line))
    for path in placed:
        say(console, f"fetched {path}")
    if not placed:
        say(console, f"all files of {name} are in {find_root(data_root)} already")


@data_command.command("check", cls=Command)
def check_set(
    name: SetName,
    options: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="OPTION=VALUE",
            help="Options of the data set, such as test=val for folder",
            show_default=False,
        ),
    ] = None,
    data_root: DataRoot = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Number of threads that decode images in files. Default: one for each core",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Read every file of a data set, and count and measure what is in it.

    [bold]Example[/bold]

    semaug data check cifar10 --data-root data
    """
    console = Console()
    changes = split_overrides(options or [])
    with about("data check"):
        source = data_sets.make(name)
        own = [one.name for one in fields(source)]
        for option in changes:
            if option not in own:
                raise UserError(unknown_name(f"data check {name}", "option", option, own))
        source = override(source, changes)
    with as_user_error("", ValueError, LoadError), _progress(console) as progress:
        task = progress.add_task("images", total=None)
        report = check(
            name,
            data_root,
            progress=lambda done, total: progress.update(task, completed=done, total=total),
            threads=workers,
            **vars(source),
        )
    if report.parts:
        console.print(_table(report))
    for line in report.notes:
        say(console, line, style="yellow" if line.startswith(("passed", "near")) else "")
    for line in _without_repeats([one.message for one in report.problems[:_MOST_PROBLEMS]]):
        say(console, line, style="red")
    if len(report.problems) > _MOST_PROBLEMS:
        say(console, f"and {len(report.problems) - _MOST_PROBLEMS:,} more", style="red")
    if report.problems:
        raise UserError(_verdict(report))
    is_own = getattr(source, "is_users_own", False)  # nobody knows what else there should be
    told = f"every image of {name} can be decoded" if is_own else f"{name} is whole"
    say(console, told, style="green")


def _without_repeats(messages: Sequence[str]) -> list[str]:
    """Tell what mends a problem, if it mends the next one too, only there.

    >>> _without_repeats(["no a; fetch it", "no b; fetch it", "no c; rename it"])
    ['no a', 'no b; fetch it', 'no c; rename it']
    """
    lines = []
    for place, message in enumerate(messages):
        problem, _, remedy = message.rpartition("; ")
        following = messages[place + 1 : place + 2]
        is_told_next = problem and following and following[0].endswith(f"; {remedy}")
        lines.append(problem if is_told_next else message)
    return lines


def _progress(console: Console) -> Progress:
    """Build a bar that is gone when the table appears."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


def _table(report: CheckReport) -> Table:
    title = f"{report.name}, {report.num_classes:,} classes"
    table = make_table(title, [""], *report.parts)
    rows = zip(*map(_cells, report.parts.values()), strict=True)
    for name, cells in zip(("images", "per class", "pixels", "mean", "std"), rows, strict=True):
        table.add_row(name, *cells)
    return table


def _cells(part: PartReport) -> tuple[str, ...]:
    return (
        f"{part.num_images:,}",
        _span(part.smallest_class, part.largest_class),
        f"{_span(*part.height)} x {_span(*part.width)}",
        " ".join(f"{value:.3f}" for value in part.mean),
        " ".join(f"{value:.3f}" for value in part.std),
    )


def _span(least: int, most: int) -> str:
    return f"{most:,}" if least == most else f"{least:,} to {most:,}"


def _verdict(report: CheckReport) -> str:
    problems = counted(len(report.problems), "problem")
    return f"data check: {problems} with {report.name} in {str(report.root)!r}"
