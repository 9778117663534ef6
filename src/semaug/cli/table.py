"""``semaug table``: what the papers print, and what was measured here."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from semaug.cli.options import (
    CheckpointSeconds,
    Cluster,
    ClusterOptions,
    DataRoot,
    Device,
    Jobs,
    Overrides,
    Quick,
    Runs,
    Threads,
    Workers,
    changes_for,
    make_run,
    train_runs,
)
from semaug.cli.report import say
from semaug.recipes.overrides import split_overrides
from semaug.training.errors import UserError
from semaug.training.run import Run
from semaug.training.table import Cell, fill_table, find_table

__all__ = ["table"]


def table(
    name: Annotated[str, typer.Argument(metavar="TABLE", help="See: semaug list tables")],
    overrides: Overrides = None,
    rows: Annotated[
        list[str] | None,
        typer.Option(help="Only rows with this in their label; may be repeated"),
    ] = None,
    run: Annotated[bool, typer.Option("--run", help="Train what is missing")] = False,
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each recipe, from seed 0 on")] = 3,
    jobs: Jobs = 1,
    cluster: Cluster = None,
    cluster_option: ClusterOptions = None,
    quick: Quick = False,
    data_root: DataRoot = None,
    runs: Runs = Path("runs"),
    device: Device = "auto",
    threads: Threads = None,
    workers: Workers = None,
    checkpoint_seconds: CheckpointSeconds = 300.0,
) -> None:
    """Print a table of the papers, published next to measured.

    Measured is the mean test error of the last ten epochs: mean ± standard deviation
    over seeds, and their number. With --run what is missing is trained; the same
    command goes on after a stop, and in several processes they share the runs.

    Changed fields make other runs, so a table can be tried at a smaller size; the papers'
    numbers are not for it then. Tables whose name ends in -small are made for two CPU cores.
    Parameters and operations are counted, not trained.

    [bold]Examples[/bold]

    semaug table isda-2

    semaug table isda-2 --rows ResNet-32 --run --seeds 5 --data-root data
    """
    changes = split_overrides(overrides or [])

    def make_runs(recipe: str) -> list[Run]:
        own = changes_for(recipe, changes)
        return [make_run(recipe, own, seed, quick, runs) for seed in range(seeds)]

    cells = fill_table(find_table(name, rows or ()), make_runs)
    console = Console()
    failed = False
    if run:
        wanted = {own.folder: own for cell in cells for own in cell.runs}
        options = {
            "data_root": data_root,
            "device": device,
            "threads": threads,
            "workers": workers,
            "checkpoint_seconds": checkpoint_seconds,
        }
        outcomes = train_runs(
            list(wanted.values()), options, jobs, console, cluster, cluster_option
        )
        failed = any(outcome.error for outcome in outcomes)
        _measure_transfer(console, cells, data_root, device)
    elif cluster or cluster_option:
        raise UserError("table: expected --run with --cluster: without it nothing is trained")
    _print(console, name, cells, changed=bool(changes) or quick)
    if failed:
        raise UserError("table: some runs failed, see above; the same command tries them again")


def _measure_transfer(
    console: Console, cells: list[Cell], data_root: Path | None, device: str
) -> None:
    """Test finished networks on other test sets, where the table wants it and it is not done."""
    wanted = {
        run.folder: run
        for cell in cells
        if cell.entry.test_set is not None
        for run, _ in cell.finished()
    }
    if wanted:
        from semaug.transfer import measure_transfer

        for folder in wanted:
            measure_transfer(folder, data_root=data_root, device=device, console=console)


def _print(console: Console, name: str, cells: list[Cell], *, changed: bool) -> None:
    title = f"{name}: errors and accuracies in percent; mean ± standard deviation (runs)"
    printed = Table(title=title, title_justify="left")
    printed.add_column("row", overflow="fold")
    printed.add_column("column", overflow="fold")
    published = any(cell.entry.published for cell in cells)
    if published:
        printed.add_column("published", justify="right", no_wrap=True)
    printed.add_column("measured here", justify="right", no_wrap=True)
    before = None
    for cell in cells:
        entry, number = cell.entry, cell.entry.published
        row = entry.row if entry.row != before else ""
        if row:
            printed.add_section()
        before = entry.row
        runs = "" if number is None or number.runs is None else f" ({number.runs})"
        texts = [f"{number or ''}{runs}"] if published else []
        printed.add_row(Text(row), Text(entry.column), *texts, cell.measured())
    console.print(printed)
    if changed:
        say(console, "measured with changed fields: not the papers' settings", style="yellow")
    folders = {str(run.folder.parent) for cell in cells for run, _ in cell.finished()}
    for folder in sorted(folders):
        say(console, f"runs in {folder}")
