"""``semaug transfer``: how trained networks do on test sets with other augmentations."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
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
from semaug.runs.read import label_of
from semaug.runs.statistics import with_spread
from semaug.runs.words import say
from semaug.transfer import TEST_SETS, Transfer, measure_transfer
from semaug.transfer.plots import draw_embeddings, draw_variation, embed_variants, export_picture

# For each label its runs, and the results of each by name of the predictor.
_Found = dict[str, list[tuple[RunData, dict[str, Transfer]]]]
_NARROW = 100  # characters of a terminal; fewer leave no room for names beside all numbers


@with_options(leave_out=["checkpoint_seconds"])
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

    if options.threads is not None:
        torch.set_num_threads(options.threads)

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
        rows = _rows_of(found)
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
    measure: Callable[[Path], dict[str, Transfer]],
    failures: list[tuple[Path, Exception]],
) -> _Found:
    """Measure the finished runs of each label; one that cannot be measured stops no other."""
    found: _Found = {}
    for recipe in group.recipes:
        for run in recipe.finished:
            try:
                one = measure(run.folder)
            except (OSError, UserError) as error:
                failures.append((run.folder, error))
            else:
                found.setdefault(recipe.label, []).append((run, one))
    return found


def _rows_of(found: _Found) -> dict[str, list[Transfer]]:
    """Return the results of each predictor in all runs of its label."""
    rows: dict[str, list[Transfer]] = {}
    for label, members in found.items():
        for _, predictors in members:
            for predictor, one in predictors.items():
                rows.setdefault(label_of(label, predictor), []).append(one)
    return rows


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
    group: Group, found: _Found, folder: Path, seed: int, hue: float, options: TrainOptions
) -> Iterator[Path]:
    """Write the pictures of a group; features are those of the first run of each label.

    Each predictor has bars and a panel of its own.
    """
    name = re.sub(r"[^A-Za-z0-9.]+", "-", f"transfer-{group.title}").strip("-")[:100]
    picture = draw_variation(_rows_of(found), group.title)
    yield from export_picture(picture, folder, f"{name}-variation")
    embeddings = {}
    for label, members in found.items():
        run, predictors = members[0]
        # A few images at most, so no processes that decode.
        trained = load_trained(run.folder, replace(options, workers=0))
        for predictor in predictors:
            embedding = embed_variants(trained, predictor=predictor, seed=seed, hue=hue)
            embeddings[f"{label_of(label, predictor)} seed {run.seed}"] = embedding
    yield from export_picture(draw_embeddings(embeddings, group.title), folder, f"{name}-features")
