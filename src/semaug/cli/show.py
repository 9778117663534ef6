"""``semaug show``: a picture of the augmented training images of a recipe."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from semaug.cli.options import DataRoot, Overrides, RecipeName, Seed, split_seed
from semaug.engine.options import TrainOptions
from semaug.recipe.overrides import override
from semaug.recipes import find_recipe, split_name
from semaug.report.gallery import draw_gallery
from semaug.runs.words import say


def show_command(
    recipe: RecipeName,
    overrides: Overrides = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="File of the picture, a PNG")
    ] = Path("augmented.png"),
    seed: Seed = None,
    images: Annotated[int, typer.Option(min=1, help="Number of training images, a row each")] = 6,
    epochs: Annotated[
        int, typer.Option(min=1, help="Number of epochs, a column each, or one for each view")
    ] = 9,
    data_root: DataRoot = None,
) -> None:
    """Draw the training images of a recipe as its epochs augment them.

    [bold]Examples[/bold]

    semaug show digits_resnet8 policy=randaugment -o digits.png

    semaug show cifar10_resnet32 policy=autoaugment_cifar10 cutout=16 --data-root data
    """
    changes, given = split_seed(overrides or [], seed)
    changed = override(find_recipe(recipe), changes, split_name(recipe)[0])

    output.parent.mkdir(parents=True, exist_ok=True)
    options = TrainOptions(data_root=data_root)
    draw_gallery(output, changed, options, seed=given or 0, num_images=images, num_epochs=epochs)
    say(Console(), f"wrote {output}")
