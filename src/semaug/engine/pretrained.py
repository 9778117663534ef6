"""Pretrained weights that the networks of a run begin with, and their record in its folder."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from operator import sub
from typing import Any

from rich.console import Console
from torch import nn

from semaug.data import DataSet
from semaug.errors import UserError, as_user_error
from semaug.export import BackboneReport, load_backbone
from semaug.export.backbone import HEADS_LEFT, digest, left_at_initial_weights
from semaug.networks import TimmNetwork
from semaug.registry import Sizes
from semaug.runs.files import read_json, write_json
from semaug.runs.run import Run
from semaug.runs.words import say_once

__all__ = ["check_pretrained_now", "load_pretrained", "record_pretrained"]

_FILE = "pretrained.json"
_REMEDY = "restore a copy of it, or delete the folder to train the run from its beginning"
_CLOSE = 0.01  # of constants on a scale of 0 to 1
_MALFORMED = (AttributeError, LookupError, TypeError)


def load_pretrained(
    network: nn.Module, spec: Any, sizes: Sizes, data: DataSet
) -> BackboneReport | None:
    """Give a network the weights that its spec names, and say what was loaded.

    And, of a spec from outside, whether timm knows that its weights want images of another mean or
    standard deviation.

    Args:
        network: Built of the spec.
        spec: Of a network; one from outside may have an option ``weights``, too.
        sizes: That it was built with.
        data: What it is trained on.

    Returns:
        None if the spec names none.

    Raises:
        OSError: If the file cannot be read.
        UserError: If timm cannot fetch its weights.
        ValueError: If the weights do not fit.
    """
    if isinstance(file := getattr(spec, "weights", None), str):
        report = load_backbone(network, file)
    elif isinstance(spec, TimmNetwork) and spec.pretrained:
        report = _load_from_timm(network, spec, sizes)
    else:
        return None
    if (wanted := getattr(spec, "preprocessing", None)) is not None:
        mean, std = (", ".join(f"{x:.3g}" for x in one) for one in (wanted.mean, wanted.std))
        note = f"images are normalized with mean {mean} and std {std}"
        return replace(report, notes=(*report.notes, note))
    told: Mapping[str, Any] = getattr(network, "pretrained_cfg", None) or {}
    if not (told.get("hf_hub_id") or told.get("url")):
        return report
    theirs, ours = (*told["mean"], *told["std"]), (*(data.mean or ()), *(data.std or ()))
    if max(map(abs, map(sub, theirs, ours)), default=0) <= _CLOSE:
        return report
    shown = [", ".join(f"{x:.3g}" for x in one) for one in (theirs, ours)]
    note = f"timm normalizes its images with mean and std {shown[0]}, this run with {shown[1]}"
    return replace(report, notes=(*report.notes, note))


def _load_from_timm(network: nn.Module, spec: TimmNetwork, sizes: Sizes) -> BackboneReport:
    fetched: Any = spec.fetch(sizes)
    part = spec.pretrained_part(network)
    state, origin = spec.pretrained_part(fetched).state_dict(), fetched.pretrained_cfg
    part.load_state_dict(state)
    theirs, ours = origin["num_classes"], sizes.num_classes
    head = "loaded" if theirs == ours else left_at_initial_weights(theirs, ours)
    return BackboneReport(
        file=f"timm: {origin['architecture']}.{origin['tag']}",
        sha256=None,
        layout="timm",
        prefix="",
        converted=tuple(state),
        unused=(),
        missing=(),
        head=head if part is network else HEADS_LEFT,
    )


def record_pretrained(run: Run, found: Mapping[str, BackboneReport], console: Console) -> None:
    """Print a line for each network, once in a queue; write ``pretrained.json`` if there are any.

    Args:
        run: It begins.
        found: By network; empty where a run goes on.
        console: Quiet in other processes than the first, which alone writes.

    Raises:
        OSError: If the disk does not take it.
    """
    for name, report in found.items():
        say_once(console, f"{name}: {report}")
    if found:
        write_json(run.folder / _FILE, {name: report.plain() for name, report in found.items()})


def check_pretrained_now(run: Run) -> None:
    """Check that the files of weights that a run began with, where they exist, are as they were.

    They need not exist any longer: a run that goes on takes the weights of its checkpoint.

    Raises:
        OSError: If such a file cannot be read.
        UserError: If one has changed, or the record is damaged.
    """
    path = run.folder / _FILE
    if not (path.exists() and run.has_begun):
        return
    with as_user_error(f"{path}: expected a record of weights; {_REMEDY}: ", *_MALFORMED):
        record = read_json(path, _REMEDY)
        before = {name: (report["file"], report["sha256"]) for name, report in record.items()}
    for name, (file, then) in before.items():
        with suppress(FileNotFoundError):
            if then not in (None, now := digest(file)):
                raise UserError(
                    f"{path}: the run began {name} with another {file}: sha256 {then} there and "
                    f"{now} now; restore the file, or choose another folder with --runs"
                )
