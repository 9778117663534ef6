"""Check a recipe: train four steps, kill, resume, compare every tensor.

A run that was killed and resumed must end bit for bit where one that was not ends. What breaks
this is state that is not saved: an attribute that counts steps, a generator of one's own, a memory
that is no buffer.
"""

import multiprocessing
import os
import signal
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from semaug.engine.options import TrainOptions
from semaug.engine.session import Session
from semaug.engine.train import train
from semaug.errors import UserError
from semaug.runs.checkpoint import load_checkpoint
from semaug.runs.run import Run

_STEPS, _TEST_EVERY = 4, 2
_SAVES_BEFORE_DEATH = 4  # after steps 1 and 2, the test, and step 3: in the middle of an epoch
_TIMES = ("seconds", "epoch_seconds", "images_per_second", "peak_memory", "peak_memory_mib")
_processes = multiprocessing.get_context("spawn")


def check_run(run: Run, options: TrainOptions) -> dict[str, Any]:
    """Train four steps of a run, with and without a kill, and compare.

    Args:
        run: Of a quick recipe; its folder is not touched.
        options: Of training.

    Returns:
        The state of the last checkpoint, for what else is to be said of it.

    Raises:
        UserError: If the two differ, with the names of what does, or something does not fit.
    """
    recipe = run.recipe.lasting(steps=_STEPS, evaluate_every_steps=_TEST_EVERY)
    with TemporaryDirectory(prefix="semaug-check-") as folder:
        whole, stopped = (
            replace(run, recipe=recipe, root=Path(folder, name)) for name in ("whole", "stopped")
        )
        own = replace(options, checkpoint_seconds=0.0)
        train(whole, own)
        _in_another_process(_train_and_die, stopped, own, -signal.SIGKILL)
        _in_another_process(_resume, stopped, own, 0)
        states = [load_checkpoint(one.checkpoint) for one in (whole, stopped)]
        found = list(differences(states[0], states[1]))
    if found:
        shown = ", ".join(found[:5]) + (f" and {len(found) - 5} more" if len(found) > 5 else "")
        raise UserError(
            f"check: a run that was killed and resumed ended elsewhere than one that was not: "
            f"{shown} differ; keep all state in buffers, parameters or get_extra_state()"
        )
    return states[0]


def differences(one: Any, other: Any, place: str = "") -> Iterator[str]:
    """Yield the places where two checkpoints differ, times apart."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for name in sorted({*one, *other}, key=str):
            if name not in _TIMES:
                inside = f"{place}.{name}" if place else str(name)
                yield from differences(one.get(name), other.get(name), inside)
    elif isinstance(one, list | tuple) and type(other) is type(one) and len(one) == len(other):
        for number, pair in enumerate(zip(one, other, strict=True)):
            yield from differences(*pair, f"{place}[{number}]")
    elif isinstance(one, Tensor) and isinstance(other, Tensor):
        if one.shape != other.shape or not torch.equal(_bits(one), _bits(other)):
            yield place
    elif type(one) is not type(other) or one != other:
        yield place


def _bits(tensor: Tensor) -> Tensor:
    """Return a tensor in which a NaN is equal to itself."""
    return tensor.nan_to_num(nan=0.5) if tensor.is_floating_point() else tensor


def _in_another_process(work: Any, run: Run, options: TrainOptions, wanted: int) -> None:
    process = _processes.Process(target=work, args=(run, options))
    process.start()
    process.join()
    if process.exitcode != wanted:
        raise UserError(
            f"check: expected the process that trains to end with {wanted}, got "
            f"{process.exitcode}; its error stands above"
        )


def _train_and_die(run: Run, options: TrainOptions) -> None:
    saves = 0
    save = Session.save

    def save_and_die(session: Session) -> None:
        nonlocal saves
        save(session)
        saves += 1
        if saves == _SAVES_BEFORE_DEATH:
            os.kill(os.getpid(), signal.SIGKILL)

    setattr(Session, "save", save_and_die)  # noqa: B010
    train(run, options)


def _resume(run: Run, options: TrainOptions) -> None:
    train(run, options, resume=True)
