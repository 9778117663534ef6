"""``semaug evaluate``: test trained networks again."""

from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console

from semaug.cli.options import with_options
from semaug.engine.options import TrainOptions
from semaug.engine.trained import Trained, load_trained
from semaug.runs.files import read_json
from semaug.runs.words import say

__all__ = ["evaluate_command"]


@with_options(leave_out=["checkpoint_seconds"])
def evaluate_command(
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...",
            help="Folders of finished runs, such as runs/digits_resnet8/seed0",
            show_default=False,
        ),
    ],
    *,
    options: TrainOptions,
) -> None:
    """Test the networks of finished runs again, and compare with the recorded errors.

    They see the images that the run tested on: those held out, if there were such. The error is
    that of the last epoch, exactly: on the same device and, on a CPU, with the same number of
    threads.

    [bold]Examples[/bold]

    semaug evaluate runs/digits_resnet8/seed0

    semaug evaluate runs/cifar10_resnet32_isda/seed* --data-root data
    """
    console = Console()
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    others = 0
    for folder in folders:
        trained = load_trained(folder, options.data_root, options.device, options.workers)
        summary = read_json(folder / "summary.json", "delete it, and --resume writes it anew")
        for line, is_same in _compare(trained, summary):
            say(console, f"{folder}: {line}", style="" if is_same else "yellow")
            others += not is_same
    if others:
        say(
            console,
            "an error may be another on another device, and on a CPU with another number of "
            "threads: numbers are rounded otherwise",
        )


def _compare(trained: Trained, summary: dict[str, Any]) -> list[tuple[str, bool]]:
    """Say of each network what its error is, and whether it is that of the run."""
    measured = "held-out error" if summary.get("test_on") == "hold_out" else "test error"
    errors, lines = trained.test_errors(), []
    for place, error in enumerate(errors, start=1):
        name = f"{measured} of network {place}" if len(errors) > 1 else measured
        recorded = summary["error_last" if place == 1 else f"error_last_{place}"]
        is_same = f"{error:.9f}" == f"{recorded:.9f}"
        ending = f"recorded were {recorded:.2f} % on {summary['device']}"
        lines.append((f"{name} {error:.2f} %, {'as recorded' if is_same else ending}", is_same))
    return lines
