"""Runs side by side, in worker processes on one device.

What a worker prints goes to ``log.txt`` in the folder of the run that it trains.
"""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from semaug.engine.allocator import keep_freed_memory
from semaug.engine.device import count_workers
from semaug.engine.interrupt import InterruptedRunError, watch_interrupts
from semaug.engine.options import TrainOptions
from semaug.errors import UserError
from semaug.queue.display import JobsDisplay
from semaug.queue.outcome import Outcome, open_log, train_one
from semaug.runs.run import Run

_SECONDS_BETWEEN_LOOKS = 0.3
_SECONDS_BETWEEN_TRIES = 2.0  # of a run that another process is training

# A forked worker could not use the GPU, and would inherit threads that are not there.
_processes = multiprocessing.get_context("spawn")


def share_out(options: TrainOptions, jobs: int) -> TrainOptions:
    """Divide the processes that decode images among jobs, unless their number is given."""
    if jobs == 1 or options.workers is not None:
        return options
    return replace(options, workers=max(1, count_workers(None) // jobs))


def train_side_by_side(
    waiting: list[Run], options: TrainOptions, jobs: int, display: JobsDisplay
) -> Iterator[Outcome]:
    """Train runs in worker processes, ``jobs`` at a time, and yield what becomes of each.

    Args:
        waiting: The runs, in the order of their start.
        options: How to train each of them.
        jobs: How many at a time.
        display: Shows which are running.

    Raises:
        InterruptedRunError: After Ctrl-C or SIGTERM, with all runs saved.
    """
    not_before: dict[Path, float] = {}
    with watch_interrupts() as interrupt, _workers(jobs) as workers:
        while waiting or any(worker.run for worker in workers):
            now = time.monotonic()
            free = [run for run in waiting if not_before.get(run.folder, 0.0) <= now]
            idle = [worker for worker in workers if worker.run is None]
            for worker, run in zip(idle, free, strict=False):
                waiting.remove(run)
                worker.give(run, options)
            for worker in _ready(workers):
                run, outcome = worker.take()
                if outcome is None:
                    waiting.append(run)
                    not_before[run.folder] = time.monotonic() + _SECONDS_BETWEEN_TRIES
                else:
                    yield outcome
            display.show_running([worker.run for worker in workers if worker.run])
            if interrupt:
                _stop(workers)
                raise InterruptedRunError(
                    f"stopped with {display.done} of {display.total} runs done; the others "
                    "are saved",
                    interrupt.signal_number,
                )


# The processes.


@contextmanager
def deaf_children() -> Iterator[None]:
    """Keep Ctrl-C from processes that start now: it is meant for this one, which tells them."""
    former = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, former)


class _Worker:
    """A process that trains one run after the other, and the run that it is training now."""

    def __init__(self, threads: int) -> None:
        self.threads = threads  # at most, unless options say how many
        self.run: Run | None = None
        self.process: Any = None

    def give(self, run: Run, options: TrainOptions) -> None:
        if not (self.process and self.process.is_alive()):
            self.connection, theirs = _processes.Pipe()
            # No daemon: those may not have processes of their own, which decode images.
            self.process = _processes.Process(
                target=_work, args=(theirs, self.threads), daemon=False
            )
            resource_tracker.ensure_running()  # whose first start would undo the next line
            with deaf_children():
                self.process.start()
            theirs.close()  # so that the death of the process ends the connection
        self.run = run
        with suppress(OSError):  # if it died, `take` will find out
            self.connection.send((run, options))

    def take(self) -> tuple[Run, Outcome | None]:
        """Return the outcome of the run; None if another process is training it."""
        assert self.run is not None
        run, self.run = self.run, None
        try:
            found = self.connection.recv()
            return run, Outcome(run, error=found) if isinstance(found, str) else found
        except (EOFError, OSError):
            self.process.join()
            code = self.process.exitcode
            hint = ", perhaps for want of memory" if code == -signal.SIGKILL else ""
            return run, Outcome(run, error=f"its process died with exit code {code}{hint}")


@contextmanager
def _workers(jobs: int) -> Iterator[list[_Worker]]:
    """Make workers, and leave no process behind."""
    workers = [_Worker(max(1, torch.get_num_threads() // jobs)) for _ in range(jobs)]
    try:
        yield workers
    except BaseException:
        for worker in workers:
            if worker.process:
                worker.process.kill()
        raise
    finally:
        for worker in workers:
            if worker.process:
                worker.connection.close()
                worker.process.join()


def _ready(workers: list[_Worker], seconds: float | None = _SECONDS_BETWEEN_LOOKS) -> list[_Worker]:
    """Wait a while for workers that are done, or dead."""
    busy = [worker for worker in workers if worker.run]
    ready = wait([worker.connection for worker in busy], seconds)
    return [worker for worker in busy if worker.connection in ready]


def _stop(workers: list[_Worker]) -> None:
    """Let all workers save what they train, and wait for it."""
    for worker in workers:
        if worker.run:
            worker.process.terminate()
    while any(worker.run for worker in workers):
        for worker in _ready(workers, None):
            worker.take()


# In a worker.


def _work(connection: Connection, threads: int) -> None:
    torch.set_num_threads(threads)
    keep_freed_memory()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # `train` has its own meanwhile
    threading.Thread(target=_stop_without_parent, daemon=True).start()
    try:
        while True:
            try:
                run, options = connection.recv()
                connection.send(_train_one(run, options))
            except UserError as error:  # code of the run was changed meanwhile, or is gone
                connection.send(str(error))
    except (EOFError, OSError, KeyboardInterrupt):
        pass


def _stop_without_parent() -> None:
    """Save and stop when the first process was killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)


def _train_one(run: Run, options: TrainOptions) -> Outcome | None:
    """Train in a worker; None if another process does already."""
    try:
        with open_log(run) as log:
            for output in (1, 2):  # of libraries and of processes that this one starts, too
                os.dup2(log.fileno(), output)
            try:
                return train_one(run, options, Console(file=log, soft_wrap=True))
            except InterruptedRunError as stop:
                print(stop, file=log)
                return Outcome(run, error=str(stop))
    except OSError as error:  # of the log: it cannot be opened, or the disk is full
        return Outcome(run, error=str(error))
