"""``semaug predict``: what a trained network says of photographs."""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from torch import Tensor

from semaug import api
from semaug.cli.options import OF_TRAINING, PredictorName, one_process, use_threads, with_options
from semaug.data import LoadError
from semaug.data.colors import png_of_classes, png_of_ids
from semaug.engine.display import show_bar
from semaug.engine.options import TrainOptions
from semaug.engine.predict import photographs_named, why_none, why_unread
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
    top: Annotated[int, typer.Option(min=1, help="Classes that are printed of each")] = 5,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a line of JSON for each photograph")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="PATH",
            help="PNG of the mask of a photograph, or folder for those of several, of a run on "
            "masks",
            show_default=False,
        ),
    ] = None,
    ids: Annotated[
        bool,
        typer.Option("--ids", help="Write the numbers of the data set, such as Cityscapes' ids"),
    ] = False,
    predictor: PredictorName = "",
    *,
    options: TrainOptions,
) -> None:
    """Classify photographs, or label their pixels, with a run or an export.

    Photographs are prepared exactly as the test images of the run. The training images are not
    needed. A photograph that cannot be read is named, the others
    are classified, and the exit status is 2. A note counts the files of a folder that are passed
    over: hidden ones, those in folders of an operating system, and those with another ending than
    images have.

    Of a run on masks, the share of each class is printed, and with --output the class of each pixel
    written, at the size of the photograph: a PNG in the colors of the classes, whose pixels are the
    places of the classes in the data set, or with --ids their numbers in its files.

    [bold]Examples[/bold]

    semaug predict runs/folder_resnet18/seed0 new/*.jpg

    semaug predict runs/folder_resnet18/seed0/export/safetensors new --top 1 --json

    semaug predict runs/my_streets/seed0 photo.jpg -o mask.png
    """
    one_process("predict")
    use_threads(options)
    lines, notes = Console(), Console(stderr=True)
    found = {one: photographs_named(one) for one in photographs}
    named = [pair for one in photographs for pair in found[one][0]]
    paths = [path for path, _ in named]
    missing = {one: why_none(one) for one, (pairs, _) in found.items() if not pairs}
    passed_over = [note for _, notes in found.values() for note in notes]
    networks = api.load(run, **vars(options))
    form = networks.masks
    if form is None and (output or ids):
        raise UserError("predict: expected no --output and no --ids, for the run classifies images")
    if ids and output is None:
        raise UserError("predict: --ids has no effect without --output")
    targets = _targets(named, output) if output else {}
    failed = len(missing)
    for name, why in missing.items():
        say(notes, f"{name}: {why}", style="red")
    for note in passed_over:
        say(notes, note)
    begin = time.monotonic()
    with show_bar(notes, "photographs", len(paths)) as advance, as_user_error("", LoadError):
        for path, mask in networks.predict_masks(paths, predictor) if form else ():
            if isinstance(mask, Exception):
                say(notes, why_unread(path, mask), style="red")
                failed += 1
            else:
                shares = _shares(mask, networks.classes)[:top]
                say(lines, _json_of(path, shares, "share") if as_json else _text_of(path, shares))
                if targets and form is not None:
                    png = png_of_ids(mask, form.ids) if ids else png_of_classes(mask, form.colors)
                    targets[path].parent.mkdir(parents=True, exist_ok=True)
                    write_bytes(targets[path], png)
            advance(1)
        for batch in () if form else networks.predict_files(paths, predictor):
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


def _targets(named: Sequence[tuple[Path, str]], output: Path) -> dict[Path, Path]:
    """Return where the mask of each photograph is written.

    Raises:
        UserError: If two would be one file, one would replace a photograph, or the name of a single
            one does not end with ``.png``.
    """
    output = output.expanduser()
    is_file = len(named) == 1 and output.suffix and not output.is_dir()
    if is_file and output.suffix.lower() != ".png":
        raise UserError(f"predict: expected --output of a PNG, such as mask.png, got {output}")
    targets: dict[Path, Path] = {}
    for path, name in named:
        target = output if is_file else (output / name).with_suffix(".png")
        if target in targets.values() or target.resolve() in {p.resolve() for p, _ in named}:
            raise UserError(
                f"predict: expected a file of its own for each mask, and none of a photograph, got "
                f"{target} for {path}; choose another --output, or name folders one by one"
            )
        targets[path] = target
    return targets


def _shares(mask: Tensor, classes: Sequence[str]) -> list[tuple[str, float]]:
    """Return the classes of a mask and the shares of its pixels that they have, largest first."""
    shares = torch.bincount(mask.flatten(), minlength=len(classes)) / mask.numel()
    order = shares.argsort(descending=True, stable=True).tolist()
    return [(classes[k], float(shares[k])) for k in order if shares[k] > 0]


def _text_of(path: Path, best: Sequence[tuple[str, float]]) -> str:
    return f"{path}: {', '.join(f'{name} {100 * prob:.1f} %' for name, prob in best)}"


def _json_of(path: Path, best: Sequence[tuple[str, float]], what: str = "probability") -> str:
    classes = [{"class": name, what: share} for name, share in best]
    return json.dumps({"file": str(path), "top": classes})
