"""Train a run of any kind: everything around its loop."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import torch
from rich.console import Console

from semaug._torch.memory import is_out_of_memory
from semaug.data import explain_worker_death
from semaug.engine.device import choose_device, count_threads, cpu_threads, operators, settle
from semaug.engine.images import check_images_now
from semaug.engine.memory import largest_statistics
from semaug.engine.options import TrainOptions
from semaug.engine.pretrained import check_pretrained_now
from semaug.engine.processes import Processes
from semaug.engine.start import Start
from semaug.engine.torchrun import is_first_process
from semaug.errors import UserError
from semaug.outside import find
from semaug.runs.divergence import DivergedError, check_not_diverged
from semaug.runs.environment import describe_device
from semaug.runs.folder import check_same_recipe
from semaug.runs.loggers import make_loggers
from semaug.runs.run import Run


def train(
    run: Run,
    options: TrainOptions | None = None,
    *,
    resume: bool = False,
    console: Console | None = None,
    report: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Train a run to its end and return its summary.

    Args:
        run: What to train, and where to keep it.
        options: Where and how.
        resume: Go on from the checkpoint, if there is one. Without it, a folder that holds
            a run is an error. A finished run returns its summary.
        console: Where to show progress.
        report: Called with the state of the run, such as ``"starts"``, once it is known that
            nothing is missing or misspelt.

    Returns:
        What ``summary.json`` holds.

    Raises:
        FileNotFoundError: If the data is missing.
        FloatingPointError: If the run diverges, or diverged before.
        InterruptedRunError: After Ctrl-C or SIGTERM, with everything saved.
        OSError: If the disk does not take what is written.
        UserError: If something in the recipe does not exist or does not fit the images,
            the folder holds another run or one of other images or pretrained weights, another
            process is training this one, a logger is unknown or fails, or the memory of the device
            is too small.
    """
    options = options or TrainOptions()
    if not resume:
        _check_not_begun(run)  # before any process of this run writes
    place = choose_device(options.device)
    with run.lock() if is_first_process() else nullcontext():
        run = settled(run, place)
        check_pretrained_now(run)
        report = report or (lambda state: None)
        summary = run.summary()
        if summary is not None:
            check_same_recipe(run, summary)
            check_images_now(run, options)
            report(run.state())
            return summary
        check_not_diverged(run)
        if not is_first_process() or console is None:
            console = Console(quiet=not is_first_process())
        loggers = make_loggers(options.logger, run) if is_first_process() else []
        loop = run.recipe.loop
        try:
            with (
                cpu_threads(count_threads(run.recipe, options.threads)),
                operators(place, deterministic=run.recipe.deterministic),
            ):
                processes = Processes(place, run.recipe.precision, fsdp=options.fsdp)
                start = Start(run, place, processes, options, console, report, loggers)
                return (find(loop) if isinstance(loop, str) else loop)(start)
        except DivergedError as error:
            run.write_divergence(error.epoch, error.step)
            raise
        except RuntimeError as error:
            if explanation := _explain_error(error, run.recipe, place):
                raise UserError(explanation) from error
            raise


def settled(run: Run, device: torch.device) -> Run:
    """Replace what is ``"auto"`` in the recipe by what the run began with, or begins with now.

    Raises:
        UserError: If the folder holds a run of another recipe, or is damaged; if the device does
            not train in the precision of the recipe.
    """
    if run.recipe.precision == "fp16" and device.type == "cpu":
        raise UserError("train: expected a GPU for precision=fp16; a CPU trains in 32 or bf16")
    written = run.read("recipe.json") if run.has_begun else None
    if written is None:
        return replace(run, recipe=settle(run.recipe, device))
    chosen = {
        name: written["recipe"].get(name)
        for name in ("precision", "channels_last")
        if getattr(run.recipe, name) == "auto"
    }
    run = replace(run, recipe=replace(run.recipe, **chosen))
    check_same_recipe(run, written)
    return run


def _check_not_begun(run: Run) -> None:
    """Refuse a folder that holds the run already; a run that diverged has an error of its own."""
    if not run.has_begun or run.diverged.exists():
        return
    own = getattr(run.recipe.data, "is_users_own", False)
    other = "; for other images than those of this run, choose another folder" if own else ""
    raise UserError(
        f"{run.folder}: holds this run already; add --resume to go on with it, or to see its "
        "summary if it is finished, or choose another seed=N or another folder with "
        f"--runs{other}"
    )


def _explain_error(error: RuntimeError, recipe: Any, device: torch.device) -> str | None:
    """Say what a person can do about an error of torch, None if it is a mistake of ours."""
    text = str(error)
    # Torch raises it anywhere, mostly in a backward pass.
    if death := explain_worker_death(error):
        return str(death)
    if is_out_of_memory(error):
        little = f"train: {describe_device(device)} has too little memory"
        if largest := largest_statistics(device):
            return f"{little}: {largest}; choose another `covariance`, or a smaller batch"
        return (
            f"{little} for batch_size={recipe.batch_size} or "
            f"evaluation_batch_size={recipe.evaluation_batch_size}; choose a smaller one"
        )
    if "does not have a deterministic implementation" in text:
        return f"train: torch has no deterministic form of an operator of this run: {text}"
    return None
