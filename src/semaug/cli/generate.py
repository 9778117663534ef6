"""``semaug generate``: images of a generator."""

from pathlib import Path
from typing import Annotated

import torch
import typer
from PIL import Image
from rich.console import Console

from semaug.cli.options import OF_TRAINING, one_process, with_options
from semaug.engine.options import TrainOptions
from semaug.engine.seeding import make_generator
from semaug.errors import UserError
from semaug.generation.generator import load_generator, save_graph
from semaug.runs.pictures import grid, write_picture
from semaug.runs.words import counted, say

GeneratorName = Annotated[
    str,
    typer.Argument(
        metavar="GENERATOR",
        help="Folder of a finished run, a .pt2 file of torch.export, or my_file.py:name",
        show_default=False,
    ),
]


@with_options(leave_out=[*OF_TRAINING, "data_root", "workers"])
def generate_command(
    generator: GeneratorName,
    num_images: Annotated[
        int, typer.Option("--images", "-n", min=1, help="Number of images; the classes take turns")
    ] = 100,
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            help="A .png for one picture of all, a folder for a folder of each class, or a .pt2 "
            "for the generator itself as a graph of torch.export",
        ),
    ] = Path("generated.png"),
    chosen: Annotated[
        list[str] | None,
        typer.Option(
            "--class",
            metavar="NAME",
            help="Class to make images of, by name or number; may be repeated. Default: all",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the random draws")] = 0,
    *,
    options: TrainOptions,
) -> None:
    """Write images of a generator.

    [bold]Examples[/bold]

    semaug generate runs/digits_acgan/seed0 -n 100 -o digits.png

    semaug generate runs/cifar10_wgan/seed0 -n 50000 -o made

    semaug generate my_generator.py:generator --class cat -o cats.png
    """
    one_process("generate")
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    console = Console()
    loaded = load_generator(generator, options)
    output.parent.mkdir(parents=True, exist_ok=True)
    if output.suffix == ".pt2":
        save_graph(loaded, output)
        say(console, f"wrote {output}")
        return
    names = loaded.classes or tuple(map(str, range(loaded.num_classes)))
    classes = [_class_of(name, names) for name in chosen or names]
    labels = torch.tensor(classes)[torch.arange(num_images) % len(classes)]
    if output.suffix == ".png":
        labels = labels.sort().values  # a class after the other
    images = loaded.sample(labels, make_generator(seed, "generate"))
    if output.suffix == ".png":
        columns = max(1, min(10, -(-num_images // len(classes))) if len(classes) > 1 else 10)
        write_picture(output, grid(images, columns))
        say(console, f"wrote {counted(num_images, 'image')} to {output}")
        return
    for place, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
        folder = output / names[label].replace("/", "_")
        folder.mkdir(parents=True, exist_ok=True)
        pixels = image.expand(3, -1, -1).movedim(0, -1).contiguous()
        Image.fromarray(pixels.numpy()).save(folder / f"{place:06d}.png")
    say(console, f"wrote {counted(num_images, 'image')} to {output}, a folder for each class")


def _class_of(name: str, names: tuple[str, ...]) -> int:
    if name in names:
        return names.index(name)
    if name.isdecimal() and int(name) < len(names):
        return int(name)
    raise UserError(
        f"generate: expected `--class` to be one of {', '.join(names[:10])}"
        f"{', ...' if len(names) > 10 else ''} or a number below {len(names)}, got {name!r}"
    )
