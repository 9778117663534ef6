"""``semaug predict``: what a trained network says of photographs."""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from semaug import api
from semaug.cli.options import OF_TRAINING, PredictorName, one_process, use_threads, with_options
from semaug.data import LoadError
from semaug.engine.display import show_bar
from semaug.engine.options import TrainOptions
from semaug.engine.predict import photographs_named, why_none, why_unread
from semaug.errors import UserError, as_user_error
from semaug.runs.words import counted, say


@with_options(leave_out=OF_TRAINING)
def predict_command(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN_OR_EXPORT",
            help="Folder of a finished run, or one that semaug export wrote",
            show_default=False,
        ),
    ],
    photographs: Annotated[
        list[str],
        typer.Argument(
            metavar="PHOTO",
            help="Files, folders with files at any depth, and patterns such as 'new/*.jpg'",
            show_default=False,
        ),
    ],
    top: Annotated[int, typer.Option(min=1, help="Classes that are printed of each")] = 5,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a line of JSON for each photograph")
    ] = False,
    predictor: PredictorName = "",
    *,
    options: TrainOptions,
) -> None:
    """Classify photographs with the networks of a run, or of an export.

    Photographs are prepared exactly as the test images of the run. The training images are not
    needed. A photograph that cannot be read is named, the others
    are classified, and the exit status is 2. A note counts the files of a folder that are passed
    over: hidden ones, those in folders of an operating system, and those with another ending than
    images have.

    [bold]Examples[/bold]

    semaug predict runs/folder_resnet18/seed0 new/*.jpg

    semaug predict runs/folder_resnet18/seed0/export/safetensors new --top 1 --json
    """
    one_process("predict")
    use_threads(options)
    lines, notes = Console(), Console(stderr=True)
    named = {one: photographs_named(one) for one in photographs}
    paths = [path for one in photographs for path in named[one][0]]
    missing = {one: why_none(one) for one, (found, _) in named.items() if not found}
    passed_over = [note for _, notes in named.values() for note in notes]
    networks = api.load(run, **vars(options))
    failed = len(missing)
    for name, why in missing.items():
        say(notes, f"{name}: {why}", style="red")
    for note in passed_over:
        say(notes, note)
    begin = time.monotonic()
    with show_bar(notes, "photographs", len(paths)) as advance, as_user_error("", LoadError):
        for batch in networks.predict_files(paths, predictor):
            for path, best in zip(batch.paths, batch.predictions.top(top), strict=True):
                say(lines, _json_of(path, best) if as_json else _text_of(path, best))
            for path, error in batch.failures.items():
                say(notes, why_unread(path, error), style="red")
            failed += len(batch.failures)
            advance(len(batch.paths) + len(batch.failures))
    seconds = max(time.monotonic() - begin, 1e-9)
    read = len(paths) + len(missing) - failed
    if read:
        say(notes, f"{counted(read, 'photograph')}, {read / seconds:,.0f} images/s")
    if failed or not paths:
        raise UserError(
            f"predict: expected photographs, could not read {failed:,} of {read + failed:,}"
        )


def _text_of(path: Path, best: Sequence[tuple[str, float]]) -> str:
    return f"{path}: {', '.join(f'{name} {100 * prob:.1f} %' for name, prob in best)}"


def _json_of(path: Path, best: Sequence[tuple[str, float]]) -> str:
    classes = [{"class": name, "probability": prob} for name, prob in best]
    return json.dumps({"file": str(path), "top": classes})
