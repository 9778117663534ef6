"""``semaug transfer``: how trained networks do on test sets with other augmentations."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from semaug.cli.options import one_process, with_options
from semaug.cli.printing import make_table
from semaug.engine.options import TrainOptions
from semaug.engine.trained import load_trained
from semaug.errors import UserError
from semaug.report import Group, RunData, collect
from semaug.runs.statistics import with_spread
from semaug.runs.words import say
from semaug.transfer import TEST_SETS, Transfer, measure_transfer
from semaug.transfer.plots import draw_embeddings, draw_variation, embed_variants, export_picture

__all__ = ["transfer_command"]

_NARROW = 100  # characters of a terminal; fewer leave no room for names beside all numbers


@with_options(leave_out=["checkpoint_seconds"])
def transfer_command(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN",
            help="Folders of finished runs, or folders that hold such",
            show_default=False,
        ),
    ],
    corruptions: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Test on corrupted images too: NAME.npy and labels.npy as in CIFAR-10-C, or a "
            "folder of images for each class",
            show_default=False,
        ),
    ] = None,
    plots: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Write there, as PNG and SVG: distances between test sets, and a map of features",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, help="Of crops and colors of the test sets, not of runs")
    ] = 0,
    hue: Annotated[
        float,
        typer.Option(min=0, max=0.5, help="Turn hues by up to this; 0.1 in AIT's released code"),
    ] = 0.0,
    *,
    options: TrainOptions,
) -> None:
    """Test trained networks on test images as they are, cropped, grey, and in other colors.

    Measured is every network of every finished run, on its own test images and with its last
    weights: accuracy on the four test sets of augmentation invariant training (AIT, Table 5), and
    how far predictions (KL divergence) and features (Euclidean distance) of an image are apart
    between these sets (Fig. 5). Of runs that trained several networks together, each has a row:
    the recipe's own, then its peers. Images in files are tested as the run tested them, resized
    and their middle cut out.

    The sets are the same for all networks. What a run comes to is kept in its folder, as
    transfer.json, and read from there the next time.

    [bold]Examples[/bold]

    semaug transfer runs/cifar100_resnet32_single runs/cifar100_resnet32_ait

    semaug transfer runs --corruptions CIFAR-100-C --plots pictures
    """
    console = Console()
    one_process("transfer")
    if corruptions is not None and not corruptions.is_dir():
        raise UserError(f"transfer: expected a folder of corrupted images, got {corruptions}")
    groups = _find(runs, console)

    if options.threads is not None:
        torch.set_num_threads(options.threads)

    def measure(folder: Path) -> Transfer:
        return measure_transfer(
            folder,
            data_root=options.data_root,
            device=options.device,
            seed=seed,
            hue=hue,
            corruptions=corruptions,
            workers=options.workers,
            console=console,
        )

    failures: list[tuple[Path, Exception]] = []
    measured = [(group, _measure_all(group, measure, failures)) for group in groups]
    measured = [(group, found) for group, found in measured if found]
    if not measured:
        raise failures[0][1]
    for folder, error in failures:
        say(console, f"note: {folder}: left out, {error}", style="yellow")
    for group, found in measured:
        rows = _networks_of(found)
        console.print(_make_table(group, rows, corruptions, narrow=console.width < _NARROW))
        if plots is not None:
            with console.status("drawing"):
                files = list(_draw(group, found, plots, seed, hue, options))
            for path in files:
                say(console, f"wrote {path}")
    several = any(len(members) > 1 for _, found in measured for members in found.values())
    spread = "± is the standard deviation over runs; " if several else ""
    say(console, f"{spread}all numbers: transfer.json of each run")


def _find(paths: Sequence[Path], console: Console) -> tuple[Group, ...]:
    """Return the runs at or below some folders, those on the same images together.

    Raises:
        UserError: If a path is no folder, or none of them holds a finished run.
    """
    for path in paths:
        if not path.is_dir():
            raise UserError(f"transfer: expected a folder, got {path}")
    nothing = UserError(
        f"transfer: expected folders with finished runs, got {', '.join(map(str, paths))}"
    )
    if not any(next(path.rglob("summary.json"), None) for path in paths):
        raise nothing
    collected = collect(paths)
    for note in collected.notes:
        say(console, f"note: {note}", style="yellow")
    for group in collected.groups:
        for recipe in group.recipes:
            for run in recipe.runs:
                if not run.finished:
                    note = f"note: {run.folder}: left out, for it is at {run.state}"
                    say(console, note, style="yellow")
    groups = tuple(
        group for group in collected.groups if any(recipe.finished for recipe in group.recipes)
    )
    if not groups:
        raise nothing
    return groups


def _measure_all(
    group: Group,
    measure: Callable[[Path], Transfer],
    failures: list[tuple[Path, Exception]],
) -> dict[str, list[tuple[RunData, Transfer]]]:
    """Measure the finished runs of each label; one that cannot be measured stops no other."""
    found: dict[str, list[tuple[RunData, Transfer]]] = {}
    for recipe in group.recipes:
        for run in recipe.finished:
            try:
                one = measure(run.folder)
            except (OSError, UserError) as error:
                failures.append((run.folder, error))
            else:
                found.setdefault(recipe.label, []).append((run, one))
    return found


def _networks_of(
    found: Mapping[str, Sequence[tuple[RunData, Transfer]]],
) -> dict[str, list[Transfer]]:
    """Return what each network came to in all runs of its label."""
    networks: dict[str, list[Transfer]] = {}
    for label, members in found.items():
        for _, one in members:
            for name, own in zip(_names(label, len(one.networks)), one.networks, strict=True):
                networks.setdefault(name, []).append(own)
    return networks


def _names(label: str, num_networks: int) -> list[str]:
    if num_networks == 1:
        return [label]
    return [f"{label}, network {place + 1}" for place in range(num_networks)]


def _make_table(
    group: Group,
    rows: Mapping[str, Sequence[Transfer]],
    corruptions: Path | None,
    *,
    narrow: bool,
) -> Table:
    images = "held-out images" if group.measured.startswith("held-out") else "test images"
    title = f"{group.title}: accuracy on {images} in percent (higher is better)"
    headings = list(TEST_SETS.values())
    if corruptions is not None:
        headings.append(f"{corruptions.resolve().name}, mean")
    numbers = [heading.replace(" ", "\n", 1) for heading in (*headings, "runs")]
    table = make_table(title, ["recipe"], *numbers)
    for label, members in rows.items():
        columns = [[one.accuracies[name] for one in members] for name in TEST_SETS]
        if corruptions is not None:
            columns.append([one.corrupted.mean for one in members if one.corrupted])
        cells = [with_spread(column).replace(" ", "\n" if narrow else " ", 1) for column in columns]
        table.add_row(Text(label), *cells, str(len(members)))
    return table


def _draw(
    group: Group,
    found: Mapping[str, Sequence[tuple[RunData, Transfer]]],
    folder: Path,
    seed: int,
    hue: float,
    options: TrainOptions,
) -> Iterator[Path]:
    """Write the pictures of a group; features are those of the first run of each label.

    Each network has bars and a panel of its own.
    """
    name = re.sub(r"[^A-Za-z0-9.]+", "-", f"transfer-{group.title}").strip("-")[:100]
    picture = draw_variation(_networks_of(found), group.title)
    yield from export_picture(picture, folder, f"{name}-variation")
    embeddings = {}
    for label, members in found.items():
        run, _ = members[0]
        # A few images at most, so no processes that decode.
        trained = load_trained(run.folder, options.data_root, options.device, workers=0)
        for place, network in enumerate(_names(label, trained.num_networks)):
            embedding = embed_variants(trained, network=place, seed=seed, hue=hue)
            embeddings[f"{network} seed {run.seed}"] = embedding
    yield from export_picture(draw_embeddings(embeddings, group.title), folder, f"{name}-features")
