"""``semaug evaluate``: test trained networks again."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console

from semaug.cli.options import with_options
from semaug.engine.options import TrainOptions
from semaug.engine.trained import Trained, load_trained
from semaug.runs.read import load_summary, measure_of, value_of
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
    """Test the networks of finished runs again, and compare with the recorded results.

    They see the images that the run tested on: those held out, if there were such. The result is
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
        trained = load_trained(folder, options)
        for line, is_same in _compare(trained, load_summary(folder)):
            say(console, f"{folder}: {line}", style="" if is_same else "yellow")
            others += not is_same
    if others:
        say(
            console,
            "results may differ on another device, and on a CPU with another number of threads: "
            "numbers are rounded otherwise",
        )


def _compare(trained: Trained, summary: dict[str, Any]) -> Iterator[tuple[str, bool]]:
    """Say of each predictor what it tests now, and whether that is what the run recorded."""
    measure = measure_of(summary)
    measured = f"{'held-out' if summary['test_on'] == 'hold_out' else 'test'} {measure.name}"
    for predictor, tested in trained.test().items():
        value, recorded = tested[measure.name], value_of(summary, predictor, report="last")
        is_same = recorded is not None and f"{value:.9f}" == f"{recorded:.9f}"
        before = "nothing" if recorded is None else measure.text(recorded)
        ending = "as recorded" if is_same else f"recorded: {before} on {summary['device']}"
        name = f"{measured} of {predictor}" if predictor else measured
        yield f"{name} {measure.text(value)}, {ending}", is_same
