"""``semaug export``: the network of a run for other programs."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from semaug.cli.options import OF_TRAINING, PredictorName, with_options
from semaug.engine.options import TrainOptions
from semaug.engine.trained import load_trained
from semaug.export import export_run
from semaug.export.formats import FORMATS
from semaug.export.write import ABOUT, CARD, choose_format
from semaug.runs.words import say


@with_options(leave_out=[*OF_TRAINING, "data_root", "device", "threads", "workers"])
def export_command(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN",
            help="Folder of a finished run, such as runs/digits_resnet8/seed0",
            show_default=False,
        ),
    ],
    to: Annotated[
        str, typer.Option("--format", metavar="FORMAT", help=f"One of {', '.join(FORMATS)}")
    ] = "safetensors",
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FOLDER",
            help="Folder to write; default: export/FORMAT in the folder of the run",
            show_default=False,
        ),
    ] = None,
    predictor: PredictorName = "",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an earlier export in that folder")
    ] = False,
    *,
    options: TrainOptions,
) -> None:
    """Write the network of a run for other programs, with a model card.

    The weights are those that the run tested in its last epoch: averaged ones where the recipe says
    so. They have the names that timm gives them, whatever loss and method the run had. onnx and
    torch_export hold what is computed, too. What was written is read again, and its logits are
    compared with those of the run.

    The folder holds the network, model.json (classes, size and normalization of images, recipe,
    results) and the card. It appears with all its files, or not at all. The training images are not
    needed.

    [bold]Examples[/bold]

    semaug export runs/digits_resnet8/seed0

    semaug export runs/digits_resnet8/seed0 --format onnx --output digits
    """
    name = "_".join([to, *predictor.split()])
    folder = output or run / "export" / name
    choose_format(to, folder.expanduser(), overwrite=overwrite)  # before anything is loaded
    trained = load_trained(run.expanduser(), replace(options, device="cpu"))
    about = export_run(trained, folder, to, predictor=predictor, overwrite=overwrite)
    say(Console(), f"wrote {folder}: {about['file']}, {ABOUT}, {CARD}")
