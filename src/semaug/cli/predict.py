"""``semaug predict``: what a trained network says of photographs."""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from semaug import api
from semaug.cli.options import OF_TRAINING, PredictorName, one_process, use_threads, with_options
from semaug.data import LoadError
from semaug.engine.display import show_bar
from semaug.engine.options import TrainOptions
from semaug.engine.predict import Answering, photographs_named, why_none, why_unread
from semaug.errors import UserError, as_user_error
from semaug.runs.files import write_bytes
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
    top: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Number of classes or objects that are printed of each photograph. Default: 5 "
            "classes, or all objects",
            show_default=False,
        ),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            metavar="FROM_0_TO_1",
            help="Leave out classes and objects below this probability, score or share. Default: "
            "0, of objects 0.5",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a line of JSON for each photograph")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="PATH",
            help="PNG of the mask of a photograph, or of the objects in it; or a folder for those "
            "of several",
            show_default=False,
        ),
    ] = None,
    ids: Annotated[
        bool,
        typer.Option(
            "--ids",
            help="With --output, write the class numbers of the data set, such as Cityscapes' ids",
        ),
    ] = False,
    predictor: PredictorName = "",
    *,
    options: TrainOptions,
) -> None:
    """Classify photographs, label their pixels or find objects in them.

    Photographs are prepared exactly as the test images of the run. The training images are not
    needed. A photograph that cannot be read is named, the others
    are classified, and the exit status is 2. A note counts the files of a folder that are passed
    over: hidden ones, those in folders of an operating system, and those with another ending than
    images have.

    Of a run on masks, the share of each class is printed, and with --output the class of each pixel
    written, at the size of the photograph: a PNG in the colors of the classes, whose pixels are the
    places of the classes in the data set, or with --ids their numbers in its files.

    Of the run of a detector, the objects are printed with their scores, with --json their boxes and
    masks too, and with --output they are drawn on the photograph.

    [bold]Examples[/bold]

    semaug predict runs/folder_resnet18/seed0 new/*.jpg

    semaug predict runs/folder_resnet18/seed0/export/safetensors new --top 1 --json

    semaug predict runs/my_streets/seed0 photo.jpg -o mask.png

    semaug predict runs/coco_mask_rcnn_resnet50/seed0 new/*.jpg -o found --threshold 0.3
    """
    one_process("predict")
    use_threads(options)
    lines, notes = Console(), Console(stderr=True)
    found = {one: photographs_named(one) for one in photographs}
    named = [pair for one in photographs for pair in found[one][0]]
    paths = [path for path, _ in named]
    missing = {one: why_none(one) for one, (pairs, _) in found.items() if not pairs}
    passed_over = [note for _, notes in found.values() for note in notes]
    networks: Any = api.load(run, **vars(options))
    if not isinstance(networks, Answering):
        kind = type(networks).__name__.lower()
        raise UserError(f"predict: expected a run that says something of photographs, got a {kind}")
    if output and not networks.picture:
        raise UserError("predict: expected no --output and no --ids, for the run classifies images")
    if ids and not networks.has_ids:
        raise UserError("predict: expected no --ids, for the run does not label pixels")
    if ids and output is None:
        raise UserError("predict: --ids has no effect without --output")
    targets = _targets(named, output, networks.picture) if output else {}
    failed = len(missing)
    for name, why in missing.items():
        say(notes, f"{name}: {why}", style="red")
    for note in passed_over:
        say(notes, note)
    begin = time.monotonic()
    with show_bar(notes, "photographs", len(paths)) as advance, as_user_error("", LoadError):
        for path, answer in networks.answers(paths, predictor):
            advance(1)
            if isinstance(answer, Exception):
                say(notes, why_unread(path, answer), style="red")
                failed += 1
                continue
            facts = (
                {"file": str(path), answer.listed: answer.entries(top, threshold)}
                if as_json
                else {}
            )
            say(lines, json.dumps(facts) if as_json else f"{path}: {answer.text(top, threshold)}")
            if targets:
                targets[path].parent.mkdir(parents=True, exist_ok=True)
                write_bytes(targets[path], answer.png(threshold, ids=ids))
    seconds = max(time.monotonic() - begin, 1e-9)
    read = len(paths) + len(missing) - failed
    if read:
        say(notes, f"{counted(read, 'photograph')}, {read / seconds:,.0f} images/s")
    if failed or not paths:
        raise UserError(
            f"predict: expected photographs, could not read {failed:,} of {read + failed:,}"
        )


def _targets(named: Sequence[tuple[Path, str]], output: Path, what: str) -> dict[Path, Path]:
    """Return where the picture of each photograph is written, a mask for example.

    Raises:
        UserError: If two would be one file, one would replace a photograph, or the name of a single
            one does not end with ``.png``.
    """
    output = output.expanduser()
    is_file = len(named) == 1 and output.suffix and not output.is_dir()
    if is_file and output.suffix.lower() != ".png":
        raise UserError(f"predict: expected --output of a PNG, such as {what}.png, got {output}")
    targets: dict[Path, Path] = {}
    for path, name in named:
        target = output if is_file else (output / name).with_suffix(".png")
        if target in targets.values() or target.resolve() in {p.resolve() for p, _ in named}:
            raise UserError(
                f"predict: expected a file of its own for each {what}, none of a photograph, got "
                f"{target} for {path}; choose another --output, or name folders one by one"
            )
        targets[path] = target
    return targets
