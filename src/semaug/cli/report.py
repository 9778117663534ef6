"""``semaug report``: results of runs, as one page."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from semaug.report import collect, export_plots, render
from semaug.runs.files import write_text
from semaug.runs.words import counted, say


def report_command(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN",
            help="Folders of runs, or folders that contain runs",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="File of the page, in HTML")
    ] = Path("report.html"),
    plots: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Folder for each picture as PNG and SVG", show_default=False
        ),
    ] = None,
) -> None:
    """Write a page about runs, finished or not: curves, results, differences, recipes.

    The page is a single file that needs no network. It names runs that cannot be read, and leaves
    them out.

    [bold]Examples[/bold]

    semaug report runs -o report.html

    semaug report runs/digits_resnet8 runs/digits_resnet8_isda --plots pictures
    """
    console = Console()
    collected = collect(runs)
    output.parent.mkdir(parents=True, exist_ok=True)
    write_text(output, render(collected))
    for note in collected.notes:
        say(console, f"note: {note}", style="yellow")
    say(console, f"wrote {output}, about {counted(len(collected.runs), 'run')}")
    if plots is not None:
        files = export_plots(collected, plots)
        say(console, f"wrote {counted(len(files), 'picture')} in {plots}")
