"""Check a recipe: train four steps, kill, resume, compare every tensor.

A run that was killed and resumed must end bit for bit where one that was not ends. What breaks
this is state that is not saved: an attribute that counts steps, a generator of one's own, a memory
that is no buffer.
"""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from rich.console import Console
from torch import Tensor, nn

from semaug.engine.options import TrainOptions
from semaug.engine.session import Session
from semaug.engine.train import train
from semaug.errors import UserError
from semaug.runs.checkpoint import load_checkpoint
from semaug.runs.files import read_json, write_json
from semaug.runs.run import Run

_STEPS, _TEST_EVERY = 4, 2
_SAVES_BEFORE_DEATH = 4  # after steps 1 and 2, the test, and step 3: in the middle of an epoch
_TIMES = ("seconds", "epoch_seconds", "images_per_second", "peak_memory", "peak_memory_mib")
_MOST_NAMED = 5
_processes = multiprocessing.get_context("spawn")


def check_run(run: Run, options: TrainOptions) -> dict[str, Any]:
    """Train four steps of a run, with and without a kill, and compare.

    Args:
        run: Of a quick recipe; its folder is not touched.
        options: Of training. The device is the CPU if it is ``"auto"``; operators of any other one
            are made deterministic.

    Returns:
        The state of the last checkpoint, for what else is to be said of it.

    Raises:
        UserError: If the two differ, with the names of what does, or something does not fit.
    """
    device = "cpu" if options.device == "auto" else options.device
    recipe = run.recipe.lasting(steps=_STEPS, evaluate_every_steps=_TEST_EVERY)
    recipe = replace(recipe, deterministic=recipe.deterministic or device != "cpu")
    own = replace(options, checkpoint_seconds=0.0, device=device)
    with TemporaryDirectory(prefix="semaug-check-") as folder:
        stopped, whole = (
            replace(run, recipe=recipe, root=Path(folder, name)) for name in ("stopped", "whole")
        )
        death = partial(_train_noting_attributes, stopped, own, saves=_SAVES_BEFORE_DEATH)
        _run_in_new_process(death, -signal.SIGKILL)
        _run_in_new_process(partial(_train_noting_attributes, stopped, own), 0)
        _train_noting_attributes(whole, own)
        states = [load_checkpoint(one.checkpoint) for one in (stopped, whole)]
        attributes = [read_json(_attributes_of(one), "") for one in (stopped, whole)]
    found = sorted(
        differences(states[0], states[1]), key=lambda place: not place.startswith("objects.")
    )
    if found:
        lost = [name for name in attributes[1] if attributes[1][name] != attributes[0].get(name)]
        culprit = f"; attributes that were not saved: {_list_first(lost)}" if lost else ""
        raise UserError(
            "check: a run that was killed and resumed ended elsewhere than one that was not: "
            f"{_list_first(found)} differ{culprit}; keep all state in buffers, parameters or "
            "get_extra_state()"
        )
    return states[1]


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
        alike = (one.dtype, one.shape) == (other.dtype, other.shape)
        if not (alike and torch.isclose(one, other, 0, 0, equal_nan=True).all()):
            yield place
    elif type(one) is not type(other) or one != other:
        yield place


def _list_first(texts: list[str]) -> str:
    more = len(texts) - _MOST_NAMED
    return ", ".join(texts[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _attributes_of(run: Run) -> Path:
    return run.folder / "attributes.json"


def _train_noting_attributes(run: Run, options: TrainOptions, saves: int = 0) -> None:
    """Train a run, or go on with it; note plain attributes of its modules whenever it saves.

    Args:
        run: To be trained.
        options: Of training.
        saves: After how many this process kills itself; 0 for none.
    """
    left = saves
    save = Session.save

    def save_and_note(session: Session) -> None:
        nonlocal left
        save(session)
        write_json(_attributes_of(run), dict(_plain_attributes(session.objects)))
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    try:
        setattr(Session, "save", save_and_note)  # noqa: B010
        train(run, options, resume=True, console=Console(quiet=True))
    finally:
        setattr(Session, "save", save)  # noqa: B010


def _plain_attributes(objects: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, part in objects.items():
        for place, module in part.named_modules() if isinstance(part, nn.Module) else ():
            for key, value in vars(module).items():
                if isinstance(value, int | float | str):
                    yield ".".join(filter(None, (name, place, key))), repr(value)


def _run_in_new_process(work: Callable[[], None], wanted: int) -> None:
    """Do something in a new process, which knows nothing of this one.

    Args:
        work: What to do.
        wanted: Exit code of the process, negative if a signal ends it.

    Raises:
        UserError: If that process raises it, or ends otherwise.
    """
    here, there = _processes.Pipe(duplex=False)
    process = _processes.Process(target=_run_and_send_error, args=(there, work))
    process.start()
    there.close()
    with suppress(EOFError):  # of a process that ends without a word
        raise UserError(here.recv())
    process.join()
    if process.exitcode == 0 != wanted:
        raise UserError(
            "check: expected a run that saves after each step, got one that cannot be killed in "
            "the middle of an epoch; its loop is to call session.pause()"
        )
    if process.exitcode != wanted:
        raise UserError(
            f"check: the process that trains ended with exit code {process.exitcode}; its error "
            "stands above"
        )


def _run_and_send_error(connection: Connection, work: Callable[[], None]) -> None:
    try:
        work()
    except (FloatingPointError, OSError, UserError) as error:
        connection.send(str(error))
