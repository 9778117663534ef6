"""``semaug quality``: how good the images of a generator are."""

from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console

from semaug.cli.generate import GeneratorName
from semaug.cli.options import OF_TRAINING, one_process, with_options
from semaug.cli.printing import make_table
from semaug.data import ImageSet
from semaug.data.registry import data_root as find_root
from semaug.engine.options import TrainOptions
from semaug.engine.seeding import make_generator
from semaug.errors import UserError, about, as_user_error
from semaug.generation.generator import Generator, load_generator
from semaug.generation.quality import class_consistency, compare_features, nearest_neighbours
from semaug.generation.spaces import find_space
from semaug.registry import data_sets
from semaug.runs.pictures import grid, write_picture
from semaug.runs.words import counted, say

_SHOWN, _NEIGHBOURS = 10, 5  # of a picture


@with_options(leave_out=[*OF_TRAINING, "workers"])
def quality_command(
    generator: GeneratorName,
    features: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SPACE",
            help="Feature space: pixels, the folder of a run of a classifier, or NETWORK=FILE of "
            "timm and its weights; may be repeated. Default: pixels",
            show_default=False,
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="Data set to compare with. Default: the one it was trained on", show_default=False
        ),
    ] = None,
    num_images: Annotated[
        int | None,
        typer.Option(
            "--images",
            "-n",
            min=5,
            help="Number of images of the generator, and of test images. Default: all test images",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="File of a picture, a PNG: generated images, each beside its nearest training "
            "images in the last feature space",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the random draws")] = 0,
    *,
    options: TrainOptions,
) -> None:
    """Compare the images of a generator with test images.

    The command prints Fréchet and kernel distance, precision and recall, each with its feature
    space; none of them is an FID. It also prints how often a classifier agrees with the class, and
    how near generated images are to training images. To train a classifier on generated images
    alone, use data=generated of semaug train: docs/generation.md.

    [bold]Examples[/bold]

    semaug quality runs/digits_acgan/seed0 --features runs/digits_resnet8/seed0
    """
    one_process("quality")
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    console = Console()
    loaded = load_generator(generator, options)
    train, test = _images(loaded, data, options)
    count = min(num_images or len(test), len(test))
    places = torch.arange(count) * len(test) // count  # evenly spread
    real, labels = test.images[places], test.labels[places]
    made = loaded.sample(labels, make_generator(seed, "quality"))
    table = make_table(
        f"{loaded.name}: {counted(count, 'generated image')} and as many test images",
        ["features"],
        *("Fréchet", "kernel x 1000", "precision", "recall", "class kept"),
    )
    nearest: Any = None
    for name in features or ["pixels"]:
        space = find_space(name, options)
        (own, logits), (others, _) = space(made), space(real)
        found = compare_features(own, others)
        kept = "" if logits is None else f"{100 * class_consistency(logits, labels):.1f} %"
        table.add_row(
            space.name,
            f"{found['frechet_distance']:.3f}",
            f"{1000 * found['kernel_distance']:.3f}",
            f"{found['precision']:.3f}",
            f"{found['recall']:.3f}",
            kept,
        )
        nearest = space
    console.print(table)
    pixels = [images.flatten(1) for images in (made, real, train.images)]
    own, others = (nearest_neighbours(one, pixels[2], 1).distances for one in pixels[:2])
    scale = 255 * pixels[0].shape[1] ** 0.5
    say(
        console,
        "distance to the nearest training image, root mean square of pixels from 0 to 1: "
        f"{float(own.median()) / scale:.3f} for generated images, "
        f"{float(others.median()) / scale:.3f} for test images; "
        f"{int((own == 0).sum())} generated images are copies",
    )
    if output is not None:
        shown = made[torch.arange(min(_SHOWN, count)) * count // min(_SHOWN, count)]
        near = nearest_neighbours(nearest(shown)[0], nearest(train.images)[0], _NEIGHBOURS)
        rows = torch.cat([shown.unsqueeze(1), train.images[near.places]], dim=1).flatten(0, 1)
        output.parent.mkdir(parents=True, exist_ok=True)
        write_picture(output, grid(rows, 1 + _NEIGHBOURS))
        say(console, f"wrote {output}: generated images, their neighbours in {nearest.name}")


def _images(
    generator: Generator, data: str | None, options: TrainOptions
) -> tuple[ImageSet, ImageSet]:
    """Return training and test images to compare with."""
    name = data or generator.trained_on.get("data")
    if name is None:
        raise UserError(f"quality: expected --data, for {generator.name} does not tell its own")
    with about("quality"):
        source: Any = data_sets.make(name)
    with as_user_error("", ValueError):
        found = source.load(find_root(options.data_root), options.workers)
    train, test = found.train, found.test
    if not isinstance(train, ImageSet) or tuple(train.images.shape[1:]) != generator.image:
        raise UserError(
            f"quality: expected images in memory of shape {generator.image}, which data={name} "
            "does not have"
        )
    if found.num_classes != generator.num_classes:
        raise UserError(
            f"quality: expected data of {generator.num_classes} classes, got data={name} of "
            f"{found.num_classes}"
        )
    return train, test
