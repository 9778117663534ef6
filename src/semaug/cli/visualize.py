"""``semaug visualize``: images of augmented features."""

from pathlib import Path
from typing import Annotated, Literal

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
from semaug.generation.generator import load_generator
from semaug.insight.decoder import DecoderTraining
from semaug.insight.draw import WORDS, draw_visualization
from semaug.insight.features import images_named, name_of_image
from semaug.insight.files import Kept, file_name, write_picture
from semaug.insight.reverse import Search
from semaug.insight.visualization import visualize
from semaug.report.inside import folder_of_pictures
from semaug.runs.words import say

_SEARCH, _DECODER = Search(), DecoderTraining()


@with_options(leave_out=OF_TRAINING)
def visualize_command(
    run: FinishedRun,
    generator: Annotated[
        str | None,
        typer.Option(
            "--generator",
            "-g",
            metavar="GENERATOR",
            help="Folder of a generator's run, .pt2 file of torch.export, or my_file.py:name",
            show_default=False,
        ),
    ] = None,
    inverter: Annotated[
        Literal["generator", "decoder"],
        typer.Option(
            help="What makes images of features: a search over the input of --generator, or a "
            "decoder, which is trained for this run and needs no generator"
        ),
    ] = "generator",
    classes: Annotated[
        list[str] | None,
        typer.Option(
            "--class",
            metavar="NAME",
            help="Class whose test images are shown; may be repeated. Default: the first five",
            show_default=False,
        ),
    ] = None,
    num_images: Annotated[
        int, typer.Option("--images", min=1, help="Number of test images of each class")
    ] = 1,
    select: Annotated[
        str | None,
        typer.Option(
            metavar="IMAGES",
            help="Images to show instead, of the one --class: a photograph, a folder or pattern of "
            "photographs, or places of training images (3,17,40-49)",
            show_default=False,
        ),
    ] = None,
    draws: Annotated[
        int, typer.Option(min=1, help="Number of augmented features of each image")
    ] = 3,
    nearest: Annotated[int, typer.Option(min=1, help="Number of the nearest training images")] = 5,
    strength: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Strength λ of the augmentation. Default: that of the loss, and 0.5 for a "
            "loss without",
            show_default=False,
        ),
    ] = None,
    estimate: Estimate = False,
    iterations: Annotated[
        int, typer.Option(min=1, help="Number of iterations of each of the two steps of the search")
    ] = _SEARCH.iterations,
    reconstruction_lr: Annotated[
        float, typer.Option(min=0, help="Learning rate of step I of the search, Eq. (20)")
    ] = _SEARCH.reconstruction_lr,
    augmentation_lr: Annotated[
        float, typer.Option(min=0, help="Learning rate of step II of the search, Eq. (21)")
    ] = _SEARCH.augmentation_lr,
    pixel_weight: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Weight η of the distance in pixels, beside that in features. Default: "
            f"{_SEARCH.pixel_weight:g} in step I, {_DECODER.pixel_weight:g} of the decoder",
            show_default=False,
        ),
    ] = None,
    restarts: Annotated[
        int, typer.Option(min=1, help="Number of searches in step I, of which the best is kept")
    ] = _SEARCH.restarts,
    starts: Annotated[
        int,
        typer.Option(
            min=1, help="Number of random inputs, at the best of which each search begins"
        ),
    ] = _SEARCH.starts,
    decoder_steps: Annotated[
        int, typer.Option(min=1, help="Number of steps that train the decoder")
    ] = _DECODER.steps,
    seed: Annotated[int, typer.Option(min=0, help="Seed of all random draws")] = 0,
    output: PictureFolder = None,
    predictor: PredictorName = "",
    *,
    options: TrainOptions,
) -> None:
    """Show augmented features as images, by reverse mapping or by a decoder.

    The picture is that of Figs. 6, 7 and 12 to 14 of the paper. It shows test images of each class:
    the image, its reconstruction from its features, images of features drawn from N(a, λ Σ), and as
    a control images of features equally far away in directions at random; then random images of the
    class, and the training images nearest to the first augmented one, by pixels and by features.
    Below each picture are the residual and the probability of the class. The defaults of the search
    are those that the paper prints for CIFAR; a tenth of the iterations is often enough. The
    command writes visualize-INVERTER.png, .svg and .json. Ctrl-C stops it, and the same command
    goes on.

    [bold]Examples[/bold]

    semaug visualize runs/digits_resnet8_isda/seed0 --inverter decoder

    semaug visualize runs/digits_resnet8_isda/seed0 -g runs/digits_wgan_gp/seed0 --iterations 500

    semaug visualize runs/cifar10_resnet32_isda/seed0 -g runs/cifar10_wgan/seed0 --class horse
    """
    one_process("visualize")
    use_threads(options)
    by_search = inverter == "generator"
    if by_search == (generator is None):
        raise UserError(
            "visualize: expected --generator GENERATOR, such as the folder of a run of semaug "
            "train digits_wgan_gp, or --inverter decoder without one, got "
            + ("neither" if generator is None else "both")
        )
    console, trained = Console(), load_trained(run, options)
    found = None if generator is None else load_generator(generator, options)
    folder = output or folder_of_pictures(trained.folder)
    name = file_name("visualize", inverter, *(classes or ()), predictor)
    search = Search(
        iterations=iterations,
        reconstruction_lr=reconstruction_lr,
        augmentation_lr=augmentation_lr,
        pixel_weight=_SEARCH.pixel_weight if pixel_weight is None else pixel_weight,
        restarts=restarts,
        starts=starts,
    )
    decoder = DecoderTraining(
        steps=decoder_steps,
        pixel_weight=_DECODER.pixel_weight if pixel_weight is None else pixel_weight,
    )
    total = 2 * iterations if by_search else decoder_steps
    with show_bar(console, trained.label, total) as advance:
        made = visualize(
            trained,
            found,
            classes=classes or (),
            num_images=num_images,
            images=None if select is None else images_named(trained, select),
            num_draws=draws,
            num_nearest=nearest,
            strength=strength,
            estimate=estimate,
            search=search,
            decoder=decoder,
            predictor=predictor,
            seed=seed,
            kept=Kept(folder / f"{name if by_search else 'decoder'}.pt"),
            advance=advance,
        )
    heading = f"{len(made.names)} images, λ {made.strength:g}, covariances {made.origin}"
    table = make_table(heading, ["images"], "residual", "followed", "probability", lines=False)
    for what, one in made.shown.items():
        parts = (one.residuals, one.followed, one.probs)
        told = ["" if x is None else f"{float(x.double().mean()):.3f}" for x in parts]
        table.add_row(what, *told)
    console.print(table)
    say(console, f"the mean feature of the class would have the residual {made.within:.3f}")
    tested = ""
    if made.tested:
        tested = " The decoder's re-encoding error on {images:,} test images is {error:.3f}; that "
        tested = (tested + "of the mean feature would be {within:.3f}.").format(**made.tested)
        say(console, tested.strip())
    title = f"{trained.label} seed {trained.run.seed}: images of augmented features, by "
    title += "a decoder" if found is None else f"reverse mapping with {_last_two(found.name)}"
    text = WORDS["visualize"].format(
        within=made.within,
        shift=float(made.shifts.mean()),
        strength=made.strength,
        origin=made.origin,
        tested=tested,
        random="of the generator" if by_search else "training images",
        compared=made.compared,
    )
    settings = search if by_search else decoder
    numbers = {
        "run": trained.label,
        "predictor": predictor,
        "seed": seed,
        "from": select,
        "generator": None if found is None else found.name,
        "settings": vars(settings),
        **made.plain(lambda place: name_of_image(trained, place), trained.classes),
    }
    for path in write_picture(folder, name, draw_visualization(made, title), title, text, numbers):
        say(console, f"wrote {path}")


def _last_two(place: str) -> str:
    """Return the end of a path, which names a run and its seed."""
    return "/".join(Path(place).parts[-2:])
