"""``semaug features``: how far features of classes lie apart, and a map of them."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from semaug.cli.options import (
    OF_TRAINING,
    Estimate,
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
from semaug.insight import map_features
from semaug.insight.draw import WORDS, draw_maps
from semaug.insight.files import file_name, write_picture
from semaug.report.inside import folder_of_pictures
from semaug.runs.words import say


@with_options(leave_out=OF_TRAINING)
def features_command(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN",
            help="Folders of finished runs on the same test images, a panel each",
            show_default=False,
        ),
    ],
    images: Annotated[
        int,
        typer.Option(
            min=3, help="Number of test images, evenly from all classes, the same for all runs"
        ),
    ] = 1000,
    draws: Annotated[
        int,
        typer.Option(
            min=0, help="Number of augmented features of each of a few images; 0 draws none"
        ),
    ] = 5,
    perplexity: Annotated[
        float, typer.Option(min=1, help="Perplexity of t-SNE: how many neighbors count")
    ] = 30.0,
    strength: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Strength λ of the augmentation. Default: that of the loss at the end, and 0.5 "
            "for a loss without",
            show_default=False,
        ),
    ] = None,
    estimate: Estimate = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of images, draws and layout")] = 0,
    output: PictureFolder = None,
    predictor: PredictorName = "",
    *,
    options: TrainOptions,
) -> None:
    """Lay out the test features of several runs by t-SNE, and measure how far classes lie apart.

    Each run has a panel, with the same test images, settings and seed (the paper's Fig. 8), and
    with augmented features, drawn from N(a, λ Σ) of the class of an image. A layout is no evidence,
    so three numbers describe the features themselves: how many of the ten nearest neighbors of an
    image are of its class, the scatter within classes over the scatter between classes, and the
    silhouette. The command writes features.png, .svg and .json.

    [bold]Examples[/bold]

    semaug features runs/digits_resnet8/seed0 runs/digits_resnet8_isda/seed0

    semaug features runs/cifar10_resnet110/seed0 runs/cifar10_resnet110_isda/seed0 --images 2000
    """
    one_process("features")
    use_threads(options)
    console = Console()
    networks = {}
    for folder in runs:
        trained = load_trained(folder, options)
        label = f"{trained.label} seed {trained.run.seed}"
        label += f" in {folder}" * (label in networks)
        networks[label] = trained, predictor
    with show_bar(console, "features", None) as advance:
        maps = map_features(
            networks,
            num_images=images,
            num_draws=draws,
            perplexity=perplexity,
            strength=strength,
            estimate=estimate,
            seed=seed,
            advance=advance,
        )
    name = next(iter(networks.values()))[0].data.name
    title = f"{name}: features of {len(maps[0].labels):,} test images"
    columns = ["neighbors of the class ↑", "within / between ↓", "silhouette ↑"]
    table = make_table(title, ["run"], *columns)
    for one in maps:
        told = one.separation
        cells = [f"{told.scatter_ratio:.3f}", f"{told.silhouette:.3f}"]
        table.add_row(Text(one.label), f"{100 * told.neighbor_purity:.2f} %", *cells)
    console.print(table)
    title += ", t-SNE"
    figure = draw_maps(maps, title)
    numbers = {
        "software": "scikit-learn",
        "perplexity": perplexity,
        "seed": seed,
        "predictor": predictor,
        "networks": [one.plain() for one in maps],
    }
    folders = [output] if output else [folder_of_pictures(x.folder) for x, _ in networks.values()]
    for folder in folders:
        name = file_name("features", predictor)
        for path in write_picture(folder, name, figure, title, WORDS["features"], numbers):
            say(console, f"wrote {path}")
