"""The training loop, top to bottom.

What a run becomes depends on its recipe and its seed, and not on how often it was stopped:
what is drawn depends on the epoch (:mod:`semaug.engine.seeding`), and a checkpoint holds
all the rest (:mod:`semaug.engine.session`), in the middle of an epoch too.
"""

import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor

from semaug.average import WeightAverage
from semaug.data import explain_worker_death
from semaug.engine.build import (
    build_data,
    build_method,
    build_optimizer,
    compile_steps,
    synchronize_batch_norm,
)
from semaug.engine.device import (
    choose_device,
    count_workers,
    describe_device,
    operators,
)
from semaug.engine.display import show_progress
from semaug.engine.divergence import DivergedError, check_not_diverged
from semaug.engine.evaluate import Wrong, count_wrong
from semaug.engine.images import check_images_now, record_images
from semaug.engine.interrupt import watch_interrupts
from semaug.engine.memory import reset_peak_memory
from semaug.engine.options import TrainOptions
from semaug.engine.pipeline import Pipeline
from semaug.engine.processes import Processes
from semaug.engine.run_files import settled, warn_of_another_device, write_start, write_summary
from semaug.engine.schedule import learning_rate_schedule
from semaug.engine.seeding import derive_seed
from semaug.engine.session import Session
from semaug.engine.torchrun import is_first_process
from semaug.errors import UserError
from semaug.recipe.recipe import Recipe
from semaug.runs.files import remove_partial_files
from semaug.runs.record import Record
from semaug.runs.run import Run

__all__ = ["train"]


def train(
    run: Run,
    options: TrainOptions = TrainOptions(),
    *,
    resume: bool = False,
    console: Console | None = None,
    report: Callable[[str], None] | None = None,
    **changes: Any,
) -> dict[str, Any]:
    """Train a run to its end and return its summary.

    Args:
        run: What to train, and where to keep it.
        options: How to train it on this machine.
        resume: Go on from the checkpoint, if there is one. Without it, a folder that holds
            a run is an error. A finished run returns its summary.
        console: Where to show progress.
        report: Gets what this means for the run, such as ``"starts"``, once it is known that
            nothing is missing or misspelt.
        **changes: Fields of ``options`` with other values.

    Returns:
        What ``summary.json`` holds: errors in percent, seconds, versions and device.

    Raises:
        FileNotFoundError: If the data is missing.
        FloatingPointError: If losses or weights stop being finite numbers, or did before.
        InterruptedRunError: After Ctrl-C or SIGTERM, with everything saved.
        OSError: If the disk does not take what is written.
        UserError: If something in the recipe does not exist or does not fit the images,
            the folder holds another run or one of other images, another process is training
            this one, or the memory of the device is too small.
    """
    options = replace(options, **changes)
    data_root, workers = options.data_root, options.workers
    if run.has_begun and not resume:  # asked before any process of this run writes
        raise UserError(
            f"{run.folder}: holds this run already; add --resume to go on with it, or to see "
            "its summary if it is finished, or choose another seed=N or another folder with --runs"
        )
    place = choose_device(options.device)
    with run.lock() if is_first_process() else nullcontext():
        run = settled(run, place)
        report = report or (lambda state: None)
        summary = run.summary()
        if summary is not None:
            check_images_now(run, data_root, workers)
            report(run.state())
            return summary
        check_not_diverged(run)
        if options.threads is not None:
            torch.set_num_threads(options.threads)
        if not is_first_process() or console is None:
            console = Console(quiet=not is_first_process())
        try:
            with operators(place, deterministic=run.recipe.deterministic):
                processes = Processes(place, run.recipe.precision)
                seconds = options.checkpoint_seconds
                return _train(run, data_root, place, processes, workers, seconds, console, report)
        except DivergedError as error:
            run.write_divergence(error.epoch, error.step)
            raise
        except RuntimeError as error:
            explanation = _explain(error, run.recipe, place)
            if explanation is None:
                raise
            raise UserError(explanation) from error


def _train(
    run: Run,
    data_root: Path | None,
    device: torch.device,
    processes: Processes,
    workers: int | None,
    checkpoint_seconds: float,
    console: Console,
    report: Callable[[str], None],
) -> dict[str, Any]:
    recipe, seed, fabric = run.recipe, run.seed, processes.fabric

    # Everything on the device.
    reset_peak_memory(device)
    with console.status(f"reading {recipe.data}"):
        data, selection = build_data(recipe, data_root, device, quick=run.quick, workers=workers)
    num_images = len(data.train)
    steps_per_epoch = math.ceil(num_images / recipe.batch_size)
    total_steps = recipe.epochs * steps_per_epoch
    processes.check_batches(recipe, num_images)
    pipeline = Pipeline(recipe, data, count_workers(workers), processes.rank, processes.size)
    method = build_method(recipe, data, pipeline.example_images(), seed=seed, num_steps=total_steps)
    method.to(device).to(memory_format=pipeline.layout)
    if recipe.sync_batch_norm and processes.size > 1:
        method.network = synchronize_batch_norm(method.network, device)
    optimizer = build_optimizer(recipe, method)
    if recipe.compile:
        compile_steps(method)
    learning_rate = learning_rate_schedule(recipe, steps_per_epoch)
    wrapped_method, wrapped_optimizer = fabric.setup(method, optimizer)
    wrapped_method.mark_forward_method("loss")
    wrapped_method.mark_forward_method("predict_each")
    average = None
    if recipe.ema_decay is not None:
        average = WeightAverage(method.network, recipe.ema_decay)

    def predict(images: Tensor) -> Tensor:
        with fabric.autocast():
            logits: Tensor = wrapped_method.predict_each(images)
        return logits

    # Nothing is missing, misspelt or of the wrong size: the run begins, or goes on.
    report(run.state())
    starts: list[dict[str, Any]] = []
    if processes.is_first:
        remove_partial_files(run.folder)
        starts = write_start(run, device)
        warn_of_another_device(console, starts)
        record_images(run, selection, data)
    torch.manual_seed(derive_seed(seed, "training"))  # for dropout: alike for every loss
    session = Session(run, device, processes, method, optimizer, average, data)
    if run.checkpoint.exists():
        session.restore()
    next_checkpoint = time.monotonic() + checkpoint_seconds

    with (
        pipeline,
        Record(run, session.rows) if processes.is_first else nullcontext() as record,
        watch_interrupts() as interrupt,
        show_progress(console, recipe) as display,
    ):
        for epoch in range(session.epoch, recipe.epochs):
            # The steps of one epoch, or what is left of them.
            method.train()
            if session.step == 0:
                method.start_epoch()
            session.lap()
            for batch in pipeline.train_batches(seed, epoch, session.step):
                for group in optimizer.param_groups:
                    group["lr"] = learning_rate(session.total_step)
                if processes.size > 1:  # a checkpoint has no room for the generators of all
                    purpose = f"training, process {processes.rank}"
                    torch.manual_seed(derive_seed(seed, purpose, session.total_step))

                wrapped_optimizer.zero_grad()
                with fabric.autocast():
                    output = wrapped_method.loss(batch)
                share = session.share(batch)
                loss = output.loss
                if processes.size > 1:  # gradients are averaged, and pieces may differ in size
                    loss = loss * (share * processes.size)
                fabric.backward(loss)
                if recipe.clip_norm is not None:
                    fabric.clip_gradients(
                        wrapped_method,
                        wrapped_optimizer,
                        max_norm=recipe.clip_norm,
                        error_if_nonfinite=False,  # it would be waited for; we ask seldom
                    )
                wrapped_optimizer.step()
                if average is not None:
                    average.update(method.network)

                session.count_step(output, batch, share)
                if display.wants_step():
                    session.check_losses()
                    display.show_step(session)
                stopped, due = processes.any(bool(interrupt), time.monotonic() >= next_checkpoint)
                if stopped:
                    session.lap(of_steps=True)
                    raise session.stop(interrupt.signal_number)
                if due:
                    session.lap(of_steps=True)
                    session.save()
                    next_checkpoint = time.monotonic() + checkpoint_seconds
            method.warn_of_skipped()
            session.check_finite()
            session.lap(of_steps=True)

            # What the loss does to images, and the test error.
            method.eval()
            with fabric.autocast():
                diagnostics = method.diagnostics(partial(pipeline.sample_batch, seed, epoch))
            wrong = None
            if recipe.is_evaluated(epoch + 1):
                display.show_test()
                session.average_buffers()
                with average.in_place_of(method.network) if average else nullcontext():
                    wrong = count_wrong(
                        predict,
                        pipeline.test_batches(),
                        Wrong.none(recipe.method.num_networks, data.num_classes, device),
                        lambda: processes.any(bool(interrupt))[0],
                    )
                if processes.any(bool(interrupt))[0]:
                    session.lap()
                    raise session.stop(interrupt.signal_number)
                wrong = wrong.map(lambda count: processes.sum_tensor(count).cpu())

            # What is known now goes to disk.
            session.lap()
            rate = learning_rate(session.total_step - 1)
            row = session.finish_epoch(wrong, rate, diagnostics)
            if record is not None:
                record.add(row)
            session.save()
            next_checkpoint = time.monotonic() + checkpoint_seconds
            display.show_epoch(row)
        if record is not None:
            record.add_classes(session.error_per_class(), session.epoch)
        summary = write_summary(run, session, starts)
        if processes.any(bool(interrupt))[0]:  # too late for this run, but not for those after it
            raise session.stop_at_end(interrupt.signal_number)

    return summary


def _explain(error: RuntimeError, recipe: Recipe, device: torch.device) -> str | None:
    """Say what a person can do about an error of torch, None if it is a mistake of ours."""
    text = str(error)
    death = explain_worker_death(error)  # torch raises it anywhere, mostly in a backward pass
    if death is not None:
        return str(death)
    if isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator" in text:
        return (
            f"train: {describe_device(device)} has too little memory for "
            f"batch_size={recipe.batch_size} or "
            f"evaluation_batch_size={recipe.evaluation_batch_size}; choose a smaller one"
        )
    if "does not have a deterministic implementation" in text:
        return f"train: torch has no deterministic form of an operator of this run: {text}"
    return None
