"""Write a trained network with all that is needed to use it elsewhere."""

import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch

from semaug import __version__
from semaug._torch.names import unknown_name
from semaug.data.class_folders import listed
from semaug.data.views import Exactly, ResizeCenterCrop
from semaug.errors import UserError, as_user_error
from semaug.export.card import write_card
from semaug.export.formats import FORMATS, Format
from semaug.export.network import TOLERANCE, PlainNetwork, build, difference, plain_network
from semaug.networks import TimmNetwork
from semaug.outside import is_outside
from semaug.recipe.plain import spec_to_plain_data
from semaug.registry import evaluations, networks
from semaug.runs.files import read_json, write_json, write_text, writing
from semaug.runs.read import CROSS_VALIDATION, Measure, load_summary

ABOUT = "model.json"
CARD = "README.md"
FORMAT = 1  # of model.json

_LEFT_OUT = ("code", "finished", "format")  # of a summary; where code lies is private
_VIEWS = (ResizeCenterCrop, Exactly)


def export_run(
    trained: Any,
    folder: str | Path,
    to: str = "safetensors",
    *,
    predictor: str = "",
    overwrite: bool = False,
) -> dict[str, Any]:
    """Write the network of a run into a folder: weights, ``model.json`` and a model card.

    The weights are those that the run tested in its last epoch, under the names that
    ``timm.create_model`` gives them, or the user's own module, whatever method and loss the run
    had. What was written is read again, and its logits are compared with those of the run.

    Args:
        trained: The networks of the run, a :class:`semaug.engine.trained.Trained`.
        folder: To be made; it appears with all its files, or not at all.
        to: A key of :data:`semaug.export.formats.FORMATS`.
        predictor: Which of the networks of the run, by the name of what was tested.
        overwrite: Whether an earlier export in the folder is replaced.

    Returns:
        What ``model.json`` holds.

    Raises:
        OSError: If the disk does not take it.
        RuntimeError: If what was written has other logits.
        UserError: If the folder exists, a name is unknown, a package is missing, no one network
            makes the logits of the predictor, or torch cannot write it in this format.
    """
    folder = Path(folder).expanduser()
    chosen = choose_format(to, folder, overwrite=overwrite)
    plain = plain_network(trained, predictor)
    if chosen.has_graph:  # which most programs compute in float32
        plain = plain._replace(network=plain.network.float(), images=plain.images.float())
    about: dict[str, Any] = {"format": FORMAT, "semaug": __version__, "to": to, "file": chosen.file}
    about |= _describe(trained, predictor, plain, chosen)
    with _whole_or_absent(folder) as place:
        path = place / chosen.file
        context = f"export: {about['network']['name']} cannot be written as {to}: "
        refusals = RuntimeError, TypeError, ValueError
        with writing(folder / path.name), as_user_error(context, *refusals):
            chosen.save(plain.network, plain.images, path)
        _check_logits(trained, plain, chosen, path)
        with path.open("rb") as file:
            about["sha256"] = hashlib.file_digest(file, "sha256").hexdigest()
        write_json(place / ABOUT, about)
        write_text(place / CARD, write_card(about))
    return about


def choose_format(to: str, folder: Path, *, overwrite: bool) -> Format:
    """Return a format, and check that it may be written into a folder.

    Raises:
        UserError: If there is no such format, or its packages are missing; if the folder is named
            as a file, or exists, unless it is to be replaced and holds an export alone.
    """
    if to not in FORMATS:
        raise UserError(unknown_name("export", "format", to, FORMATS))
    FORMATS[to].check_installed()
    if folder.suffix == Path(FORMATS[to].file).suffix:
        raise UserError(
            f"export: {folder}: expected a folder for {FORMATS[to].file}, {ABOUT} and {CARD}, got "
            "the name of a file"
        )
    if folder.exists() and not overwrite:
        raise UserError(
            f"export: {folder}: exists already; add --overwrite, or choose another with --output"
        )
    if folder.exists():
        _check_export_alone(folder)
    return FORMATS[to]


def _check_export_alone(folder: Path) -> None:
    """Check that a folder holds an export, and nothing else that would be lost with it."""
    wanted, other = "expected an earlier export to overwrite", "choose another folder with --output"
    path = folder / ABOUT
    about = read_json(path, other) if path.is_file() else None
    if not (isinstance(about, dict) and about.get("format") == FORMAT and "sha256" in about):
        raise UserError(f"export: {folder}: {wanted}, got something else; {other}")
    own = ABOUT, CARD, about.get("file")
    if others := sorted(path.name for path in folder.iterdir() if path.name not in own):
        raise UserError(
            f"export: {folder}: {wanted}, got one beside {listed(others)}; move that elsewhere, or "
            f"{other}"
        )


def _describe(trained: Any, predictor: str, plain: PlainNetwork, chosen: Format) -> dict[str, Any]:
    """Return plain data about a network, its input and the run that trained it."""
    summary, recipe = load_summary(trained.folder), trained.recipe
    data, sizes, spec = trained.builder.data, trained.builder.sizes, plain.spec
    wanted = getattr(recipe.network, "preprocessing", None) or data  # as all input of the run
    options = spec_to_plain_data(spec, networks)
    network = {"name": options.pop("name"), "options": options}
    is_of_timm = isinstance(spec, TimmNetwork)
    if is_of_timm:
        network["arguments"] = spec.arguments(sizes)  # of timm.create_model
    view: Any = None
    with suppress(UserError):
        view = trained.view
    reasons = {
        "it labels pixels": trained.masks is not None,
        "its images are no photographs": view is None,
        "photographs are resized by code of your own": type(view) not in _VIEWS,
        "its images are whitened": getattr(recipe.augment, "whitening", False),
        "it is tested in a way of your own": is_outside(evaluations.name_of(recipe.evaluation)),
        f"it is tested at other scales, and {chosen.file} takes images of one size alone": any(
            chosen.has_graph and scale != 1 for scale in getattr(recipe.evaluation, "scales", ())
        ),
        "its network is your own, which --format torch_export and onnx keep whole": not is_of_timm
        and not chosen.has_graph,
    }
    metrics = [one.build(sizes) for one in recipe.metrics] or trained.method.metrics(sizes)
    averaged = recipe.ema_decay is not None and any(
        plain.part is module for one in trained.method.networks() for module in one.modules()
    )
    return {
        "network": network,
        "classes": list(trained.classes),
        "image": list(plain.images.shape[1:]),
        "mean": wanted.mean and list(wanted.mean),
        "std": wanted.std and list(wanted.std),
        "view": {**vars(view)} if type(view) in _VIEWS else None,
        "cannot_predict": next((reason for reason, holds in reasons.items() if holds), None),
        "label": trained.label,
        "predictor": predictor,
        "averaged": averaged,
        "data": data.name,
        "train_images": data.num_images,
        "results": summary["results"].get(predictor, {}),
        "cross_validated": _cross_validated(trained.folder),
        "units": {metric.name: metric.unit for metric in metrics},
        "run": {name: value for name, value in summary.items() if name not in _LEFT_OUT},
    }


def _cross_validated(folder: Path) -> dict[str, Any] | None:
    """Return the error of the folds, of a run that was trained on all images after them."""
    path = folder / CROSS_VALIDATION
    if not path.exists():
        return None
    found = read_json(path, "delete it, and semaug compare --folds writes it anew")
    with as_user_error(f"{path}: expected results of folds: ", LookupError, TypeError, ValueError):
        return {
            "metric": asdict(Measure(**found["metric"])),
            **{name: found[name] for name in ("mean", "std", "values", "folds", "train_images")},
        }


@torch.no_grad()
def _check_logits(trained: Any, plain: PlainNetwork, chosen: Format, path: Path) -> None:
    """Compare the logits of a file with those of the run, in batches of two sizes."""
    network = chosen.load(path, partial(build, plain.spec, trained), torch.device("cpu"))
    for count in (1, len(plain.images)):
        found = difference(network(plain.images[:count]), plain.logits[:count])
        if not found <= TOLERANCE:
            raise RuntimeError(
                f"export: expected {path.name} to have the logits of the run, got others that "
                f"differ by {found:.1e} of the largest"
            )


@contextmanager
def _whole_or_absent(folder: Path) -> Iterator[Path]:
    """Give a folder to write into, which takes its place once it is written."""
    folder = folder.resolve()  # "." has no name
    mark = f"{os.getpid()}-{secrets.token_hex(4)}.partial"
    place, old = (folder.with_name(f"{folder.name}.{which}{mark}") for which in ("", "old-"))
    with writing(folder):
        place.mkdir(parents=True)
    try:
        yield place
        with writing(folder):
            for path in place.iterdir():
                with path.open("rb") as file:
                    os.fsync(file.fileno())
            if folder.exists():
                folder.rename(old)
            place.rename(folder)
    finally:
        shutil.rmtree(place, ignore_errors=True)
        if old.exists() and not folder.exists():
            old.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
