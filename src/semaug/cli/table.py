"""``semaug table``: published numbers next to measured ones."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from semaug.cli.options import (
    Overrides,
    Quick,
    Runs,
    changes_for,
    one_process,
    use_threads,
    with_options,
)
from semaug.cli.printing import make_table
from semaug.cli.queue import Queue
from semaug.engine.options import TrainOptions
from semaug.errors import UserError, as_user_error
from semaug.published.table import (
    Cell,
    as_plain_data,
    fill_table,
    find_table,
    measures_of,
    notes_on,
)
from semaug.queue.outcome import summaries_of
from semaug.recipe.overrides import split_overrides
from semaug.recipes import make_run
from semaug.runs.files import write_json
from semaug.runs.run import Run
from semaug.runs.words import say
from semaug.transfer import measure_transfer


@with_options(leave_out=["fsdp"])
def table_command(
    name: Annotated[
        str, typer.Argument(metavar="TABLE", help="Name of a table; see: semaug list tables")
    ],
    overrides: Overrides = None,
    rows: Annotated[
        list[str] | None,
        typer.Option(help="Only rows whose label contains this text; may be repeated"),
    ] = None,
    run: Annotated[bool, typer.Option("--run", help="Train the missing runs")] = False,
    seeds: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Number of runs of each recipe, from seed 0 on. Default: 3, without --run all "
            "existing runs",
            show_default=False,
        ),
    ] = None,
    quick: Quick = False,
    runs: Runs = Path("runs"),
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="File for the table as JSON", show_default=False),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="File for the table as a figure, PNG or SVG: learning curves of isda-fig5, "
            "lines over the rows of the others",
            show_default=False,
        ),
    ] = None,
    *,
    queue: Queue,
    options: TrainOptions,
) -> None:
    """Print a table of the papers, published next to measured.

    Measured numbers are those that the recipe reports (mean of the last ten epochs), and on other
    test sets the accuracies of the last epoch: mean ± standard deviation over seeds, and the number
    of runs. With --run the missing runs are trained. The same command continues after a stop, and
    several processes of it share the runs.

    With changes of fields a table can be tried at a smaller size; the papers' numbers do not apply
    to it then. Tables whose names end in -small are made for two CPU cores. Parameters and
    operations are counted without training.

    [bold]Examples[/bold]

    semaug table isda-2

    semaug table isda-2 --rows ResNet-32 --run --seeds 5 --data-root data

    semaug table isda-fig11-small --run --data-root data --plot strengths.png
    """
    one_process("table", "--jobs and --cluster train several runs side by side")
    if not run and queue != Queue():
        raise UserError(
            "table: expected --run with --jobs and --cluster: without it nothing is trained"
        )
    if plot is not None and plot.suffix not in (".png", ".svg"):
        raise UserError(f"table: expected --plot with a PNG or SVG file, got {str(plot)!r}")
    for path in filter(None, (output, plot)):
        with as_user_error(f"table: cannot write into {str(path.parent)!r}: ", OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
    changes = split_overrides(overrides or [])

    entries = find_table(name, rows or ())
    both = (one for entry in entries for one in (entry.recipe, entry.baseline))
    recipes = [*dict.fromkeys(one for one in both if one is not None)]
    if changes and not recipes:
        raise UserError(f"table: expected no changes, for there is no recipe for {name}")
    own_changes = dict(zip(recipes, changes_for(recipes, changes), strict=True))

    def make_runs(recipe: str) -> list[Run]:
        def of_seed(seed: int) -> Run:
            return make_run(recipe, own_changes[recipe], seed, quick, runs)

        wanted = seeds or (3 if run else None)
        return [of_seed(seed) for seed in (range(wanted) if wanted else _seeds_of(of_seed(0)))]

    cells = fill_table(entries, make_runs)
    console = Console()
    outcomes = []
    if run:
        wanted = {own.folder: own for cell in cells for own in (*cell.baseline_runs, *cell.runs)}
        outcomes = queue.train(list(wanted.values()), options, console)
        _measure_transfer(console, cells, options)
    _print(console, name, cells, changed=bool(changes) or quick)
    if output is not None:
        write_json(output, as_plain_data(name, cells))
        say(console, f"wrote {output}")
    if plot is not None:
        from semaug.published.plot import draw_table  # with matplotlib, which tables do not need
        from semaug.report.picture import save

        save(draw_table(name, cells), plot)
        say(console, f"wrote {plot}")
    summaries_of(outcomes)  # or the command fails


def _seeds_of(run: Run) -> list[int]:
    """Return the seeds of a recipe that have a folder; at least that of the run given."""
    parts = (path.name.removeprefix("seed") for path in run.folder.parent.glob("seed*"))
    return sorted(int(part) for part in parts if part.isdecimal()) or [run.seed]


def _measure_transfer(console: Console, cells: list[Cell], options: TrainOptions) -> None:
    """Test finished networks on other test sets, where the table wants it and it is not done.

    What cannot be measured is named, and left out.
    """
    wanted = {
        run.folder: run
        for cell in cells
        if cell.entry.test_set is not None
        for run, _ in cell.finished()
    }
    if not wanted:
        return
    use_threads(options)
    for folder in wanted:
        try:
            measure_transfer(folder, options, console=console)
        except (OSError, UserError) as error:
            say(console, f"{folder}: not measured: {error}", style="yellow")


def _print(console: Console, name: str, cells: list[Cell], *, changed: bool) -> None:
    title = f"{name}: {'; '.join([*measures_of(cells), 'mean ± standard deviation (runs)'])}"
    published = any(cell.entry.published for cell in cells)
    differences = [cell.difference() for cell in cells]
    numbers = ["published"] * published + ["measured here"]
    numbers += ["to its baseline,\nby seed (95 %)"] * any(differences)
    printed = make_table(title, ["row", "column"], *numbers)
    before = None
    for cell, difference in zip(cells, differences, strict=True):
        entry, number = cell.entry, cell.entry.published
        row = entry.row if entry.row != before else ""
        if row:
            printed.add_section()
        before = entry.row
        texts = [number.with_runs if number else ""] * published + [cell.measured()]
        texts += [str(difference or "")] * any(differences)
        printed.add_row(Text(row), Text(entry.column), *texts)
    console.print(printed)
    if changed:
        say(console, "measured with changed fields: not the papers' settings", style="yellow")
    for note in notes_on(cells):
        say(console, note, style="yellow")
    folders = {str(run.folder.parent) for cell in cells for run, _ in cell.finished()}
    for folder in sorted(folders):
        say(console, f"runs in {folder}")
