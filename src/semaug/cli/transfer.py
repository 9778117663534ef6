"""``semaug transfer``: how trained networks do on test sets with other augmentations."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from semaug.cli.options import OF_TRAINING, one_process, use_threads, with_options
from semaug.cli.printing import make_table
from semaug.engine.options import TrainOptions
from semaug.engine.trained import load_trained
from semaug.errors import UserError
from semaug.report import Group, RunData, collect
from semaug.report.picture import export
from semaug.runs.read import label_of
from semaug.runs.statistics import with_spread
from semaug.runs.words import say
from semaug.transfer import TEST_SETS, Transfer, measure_transfer
from semaug.transfer.plots import draw_embeddings, draw_variation, embed_variants

# For each recipe and predictor, by label, its runs and their results.
_Found = dict[str, list[tuple[RunData, str, Transfer]]]
_NARROW = 100  # characters of a terminal; fewer leave no room for names beside all numbers


@with_options(leave_out=OF_TRAINING)
def transfer_command(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN",
            help="Folders of finished runs, or folders that contain finished runs",
            show_default=False,
        ),
    ],
    corruptions: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Also test on corrupted images: NAME.npy and labels.npy as in CIFAR-10-C, or a "
            "folder of images for each class",
            show_default=False,
        ),
    ] = None,
    plots: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Folder for pictures as PNG and SVG: distances of test sets, a map of features",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of crops and colors of the test sets")] = 0,
    hue: Annotated[
        float,
        typer.Option(min=0, max=0.5, help="Largest turn of hues; 0.1 in AIT's released code"),
    ] = 0.0,
    *,
    options: TrainOptions,
) -> None:
    """Test trained networks on test images as they are, cropped, grey, and in other colors.

    Tested is every network of every finished run that classifies images, with its last weights and
    on the test images of its run: accuracy on the four test sets of augmentation invariant training
    (AIT, Table 5), and distances of predictions (KL divergence) and features (Euclidean) of an
    image between these sets (Fig. 5). Each network of a run, such as peers or a teacher, has a row.
    Images in files are resized and center-cropped, as in the test of the run.

    The sets are the same for all networks. transfer.json in the folder of a run keeps the results,
    and the command reads them from there the next time.

    [bold]Examples[/bold]

    semaug transfer runs/cifar100_resnet32_single runs/cifar100_resnet32_ait

    semaug transfer runs --corruptions CIFAR-100-C --plots pictures
    """
    console = Console()
    one_process("transfer")
    if corruptions is not None and not corruptions.is_dir():
        raise UserError(f"transfer: expected a folder of corrupted images, got {corruptions}")
    groups = _find(runs, console)

    use_threads(options)

    measure = partial(
        measure_transfer, options=options, seed=seed, hue=hue, corruptions=corruptions
    )
    failures: list[tuple[Path, Exception]] = []
    measured = []
    for group in groups:
        found = _measure_all(group, partial(measure, console=console), failures)
        measured += [(group, found)] if found else []
    if not measured:
        raise failures[0][1]
    for folder, error in failures:
        say(console, f"note: {folder}: left out, {error}", style="yellow")
    for group, found in measured:
        console.print(_make_table(group, found, corruptions, narrow=console.width < _NARROW))
        if plots is not None:
            with console.status("drawing"):
                files = _draw(group, found, plots, seed, hue, options)
            for path in files:
                say(console, f"wrote {path}")
    several = any(len(members) > 1 for _, found in measured for members in found.values())
    spread = "± is the standard deviation over runs; " if several else ""
    say(console, f"{spread}all numbers: transfer.json of each run")


def _find(paths: Sequence[Path], console: Console) -> list[Group]:
    """Return the runs at or below some folders, those on the same images together.

    Raises:
        UserError: If a path is no folder, or none of them holds a finished run.
    """
    collected = collect(paths, command="transfer")
    notes = [
        *collected.notes,
        *(
            f"{run.folder}: left out, for it is at {run.state}"
            for run in collected.runs
            if not run.finished
        ),
    ]
    for note in notes:
        say(console, f"note: {note}", style="yellow")
    groups = [group for group in collected.groups if any(run.finished for run in group.runs)]
    if not groups:
        raise UserError(
            f"transfer: expected folders with finished runs, got {', '.join(map(str, paths))}"
        )
    return groups


def _measure_all(
    group: Group,
    measure: Callable[[Path], dict[str, Transfer]],
    failures: list[tuple[Path, Exception]],
) -> _Found:
    """Measure all finished runs; one that cannot be measured stops no other."""
    found: _Found = {}
    for recipe in group.recipes:
        for run in recipe.finished:
            try:
                for predictor, one in measure(run.folder).items():
                    label = label_of(recipe.label, predictor)
                    found.setdefault(label, []).append((run, predictor, one))
            except (OSError, UserError) as error:
                failures.append((run.folder, error))
    return found


def _make_table(group: Group, found: _Found, corruptions: Path | None, *, narrow: bool) -> Table:
    images = "held-out images" if group.measured.startswith("held-out") else "test images"
    title = f"{group.title}: accuracy on {images} in percent (higher is better)"
    headings = list(TEST_SETS.values())
    if corruptions is not None:
        headings.append(f"{corruptions.resolve().name}, mean")
    numbers = [heading.replace(" ", "\n", 1) for heading in (*headings, "runs")]
    table = make_table(title, ["recipe"], *numbers)
    for label, members in found.items():
        columns = [[one.accuracies[name] for *_, one in members] for name in TEST_SETS]
        if corruptions is not None:
            columns.append([one.corrupted.mean for *_, one in members if one.corrupted])
        cells = [with_spread(column).replace(" ", "\n" if narrow else " ", 1) for column in columns]
        table.add_row(Text(label), *cells, str(len(members)))
    return table


def _draw(
    group: Group, found: _Found, folder: Path, seed: int, hue: float, options: TrainOptions
) -> list[Path]:
    """Write the pictures of a group; features are those of the first run of each label.

    Each predictor has bars and a panel of its own.
    """
    name = re.sub(r"[^A-Za-z0-9.]+", "-", f"transfer-{group.title}").strip("-")[:100]
    transfers = {label: [one for *_, one in members] for label, members in found.items()}
    # A few images at most, so no processes that decode.
    load = lru_cache(1)(partial(load_trained, options=replace(options, workers=0)))
    embeddings = {
        f"{label} seed {run.seed}": embed_variants(
            load(run.folder), predictor=predictor, seed=seed, hue=hue
        )
        for label, [(run, predictor, _), *_] in found.items()
    }
    pictures = {
        f"{name}-variation": draw_variation(transfers, group.title),
        f"{name}-features": draw_embeddings(embeddings, group.title),
    }
    return export(pictures.items(), folder)
