"""``semaug directions``: what the directions of a class in feature space mean."""

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
from semaug.insight import find_directions, images_named
from semaug.insight.draw import WORDS, draw_directions
from semaug.insight.features import name_of_image
from semaug.insight.files import file_name, write_picture
from semaug.report.inside import folder_of_pictures
from semaug.runs.words import say

_SET = "A photograph, a folder or pattern of photographs, or places of training images (3,17,40-49)"


@with_options(leave_out=OF_TRAINING)
def directions_command(
    run: FinishedRun,
    classes: Annotated[
        list[str],
        typer.Option(
            "--class",
            metavar="NAME",
            help="Class whose training images are looked at; may be repeated",
            show_default=False,
        ),
    ],
    strongest: Annotated[
        int,
        typer.Option(min=1, help="Number of the strongest directions of the class"),
    ] = 4,
    begin: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="A", help=f"Images that a direction leads from: {_SET.lower()}"
        ),
    ] = None,
    end: Annotated[
        str | None,
        typer.Option("--to", metavar="B", help="Images that the direction leads to, as for --from"),
    ] = None,
    sampled: Annotated[
        int,
        typer.Option(
            min=0, help="Number of directions drawn from N(0, Σ) of the class, as ISDA does"
        ),
    ] = 2,
    random: Annotated[
        int, typer.Option(min=0, help="Number of directions drawn evenly from all")
    ] = 2,
    images: Annotated[
        int, typer.Option(min=1, help="Number of images at each end of a direction")
    ] = 6,
    estimate: Estimate = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the directions that are drawn")] = 0,
    output: PictureFolder = None,
    predictor: PredictorName = "",
    *,
    options: TrainOptions,
) -> None:
    """Show what directions in feature space mean, by the images of a class furthest along them.

    Directions are the strongest ones of the covariance of the class, the one between two sets of
    images that you choose (--from, --to), some drawn as ISDA draws them, and some at random: the
    three ways of the paper's Fig. 4 to find a semantic direction. Each is a row of a picture: the
    training images of the class that lie lowest and highest along it, and its share of the
    variance of the class. The
    command writes directions-CLASS.png, .svg and .json.

    [bold]Examples[/bold]

    semaug directions runs/digits_resnet8_isda/seed0 --class 3

    semaug directions runs/cifar10_resnet110_isda/seed0 --class automobile --from blue_cars
    --to red_cars -o pictures
    """
    one_process("directions")
    use_threads(options)
    if (begin is None) != (end is None):
        raise UserError("directions: expected --from and --to, got one of them alone")
    console, trained = Console(), load_trained(run, options)
    between = None
    if begin is not None and end is not None:
        between = images_named(trained, begin), images_named(trained, end)
    for name in classes:
        with show_bar(console, f"{trained.label}, {name}", None) as advance:
            found = find_directions(
                trained,
                name,
                strongest=strongest,
                num_images=images,
                between=between,
                sampled=sampled,
                random=random,
                predictor=predictor,
                estimate=estimate,
                seed=seed,
                advance=advance,
            )
        heading = f"{name}: {found.num_images:,} training images, {found.num_features} features"
        table = make_table(f"{heading}, covariance {found.origin}", ["direction"], "share", "std")
        for one in found.directions:
            table.add_row(one.name, f"{100 * one.share:.2f} %", f"{one.deviation:.3g}")
        console.print(table)
        if found.within is not None:
            told = f"{100 * found.within:.1f} % of the direction from one set to the other lies"
            say(console, f"{told} within the {strongest} strongest directions")
        title = f"{trained.label} seed {trained.run.seed}: directions of the class {name}"
        numbers = {
            "run": trained.label,
            "predictor": predictor,
            "seed": seed,
            "from": begin,
            "to": end,
            **found.plain(lambda place: name_of_image(trained, place)),
        }
        text = WORDS["directions"].format(random=100 / found.num_features)
        files = write_picture(
            output or folder_of_pictures(trained.folder),
            file_name("directions", name, predictor),
            draw_directions(found, title),
            title,
            text,
            numbers,
        )
        for path in files:
            say(console, f"wrote {path}")
