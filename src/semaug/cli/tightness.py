"""``semaug tightness``: how far the bound of ISDA lies above what it bounds."""

from typing import Annotated

import typer
from rich.console import Console

from semaug.cli.options import (
    OF_TRAINING,
    Estimate,
    FinishedRun,
    PictureFolder,
    PredictorName,
    one_process,
    use_threads,
    with_options,
)
from semaug.cli.printing import make_table
from semaug.engine.display import show_bar
from semaug.engine.options import TrainOptions
from semaug.engine.trained import load_trained
from semaug.errors import UserError
from semaug.insight.draw import WORDS, draw_tightness
from semaug.insight.files import file_name, write_picture
from semaug.insight.tightness import Mode, measure_tightness
from semaug.report.inside import folder_of_pictures
from semaug.runs.words import say


@with_options(leave_out=OF_TRAINING)
def tightness_command(
    run: FinishedRun,
    images: Annotated[
        int, typer.Option(min=2, help="Number of training images, evenly from all classes")
    ] = 1000,
    draws: Annotated[
        int, typer.Option(min=4, help="Number of augmented features of each image, even")
    ] = 1000,
    mode: Annotated[
        Mode,
        typer.Option(
            help="Whether batch norm and dropout are those of training, whose loss is bounded, or "
            "those of evaluation"
        ),
    ] = "train",
    strength: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Strength λ at the end of the training, less in proportion before. Default: that "
            "of the loss at each moment, and 0.5 for a loss without",
            show_default=False,
        ),
    ] = None,
    estimate: Estimate = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of images and draws")] = 0,
    output: PictureFolder = None,
    predictor: PredictorName = "",
    *,
    options: TrainOptions,
) -> None:
    """Measure over the training how far the bound of ISDA lies above the loss that it bounds.

    At each moment that the run kept (semaug train --keep-checkpoints 10), and at its end, the
    command estimates the expected loss over augmented features by Monte Carlo, with its standard
    error, and computes cross-entropy, which is below it, and the loss of ISDA, which is above (the
    paper's Fig. 9), of all images and by class. A control with covariances 1.5 times too large
    shows what a looser bound looks like. The command writes tightness.png, .svg and .json; its exit
    status is 1 if the three losses are out of order by more than three standard errors.

    [bold]Examples[/bold]

    semaug train digits_resnet8_isda --keep-checkpoints 10

    semaug tightness runs/digits_resnet8_isda/seed0
    """
    one_process("tightness")
    use_threads(options)
    if draws % 2:
        raise UserError(f"tightness: expected an even number of --draws, got {draws}")
    console, trained = Console(), load_trained(run, options)
    with show_bar(console, trained.label, None) as advance:
        found = measure_tightness(
            trained,
            num_images=images,
            num_samples=draws,
            mode=mode,
            predictor=predictor,
            strength=strength,
            estimate=estimate,
            seed=seed,
            advance=advance,
        )
    losses = "cross-\nentropy", "expected\nloss", "±", "bound", "gap", "gap in\npercent"
    title = f"{found.label}: losses in nats in {mode} mode, covariances {found.origin}"
    table = make_table(title, [], "epoch", "λ", *losses, "control,\ngap", lines=False)
    for one in found.moments:
        own = one.values
        ratio = "" if own.relative_gap is None else f"{100 * own.relative_gap:.1f}"
        values = own.cross_entropy, own.expected, own.standard_error, own.bound, own.gap
        told = [f"{one.strength:.3g}", *(f"{value:.4f}" for value in values)]
        table.add_row(str(one.epoch), *told, ratio, f"{own.control - own.expected:.4f}")
    console.print(table)
    if len(found.moments) == 1:
        say(console, "note: the run kept its last moment alone; --keep-checkpoints N keeps more")
    title = f"{trained.label} seed {trained.run.seed}: expected loss and bound of ISDA"
    text = WORDS["tightness"].format(
        images=found.moments[-1].values.images, mode=mode, draws=draws, origin=found.origin
    )
    files = write_picture(
        output or folder_of_pictures(trained.folder),
        file_name("tightness", predictor),
        draw_tightness(found, title),
        title,
        text,
        {"predictor": predictor, "seed": seed, **found.plain()},
    )
    for path in files:
        say(console, f"wrote {path}")
    if wrong := [str(one.epoch) for one in found.moments if not one.values.holds]:
        say(console, f"out of order after epoch {', '.join(wrong)}", style="red")
        raise typer.Exit(1)
