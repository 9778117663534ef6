"""Many runs side by side, in worker processes on one device.

A queue may be stopped or killed at any moment: given the same runs again it goes on, for each of
them lies in its own folder, which says whether it is finished and where it was saved last. What a
worker prints goes to ``log.txt`` in the folder of the run that it trains.
"""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from rich.console import Console

from semaug._torch.checks import check_positive_int
from semaug.engine.interrupt import InterruptedRunError, watch_interrupts
from semaug.queue.display import JobsDisplay
from semaug.queue.outcome import Outcome
from semaug.queue.queue import open_log, train_logged, train_missing_runs
from semaug.runs.run import Run

__all__ = ["run_jobs"]

_SECONDS_BETWEEN_LOOKS = 0.3
_SECONDS_BETWEEN_TRIES = 2.0  # of a run that another process is training

# A forked worker could not use the GPU, and would inherit threads that are not there.
_processes = multiprocessing.get_context("spawn")


def run_jobs(
    runs: Sequence[Run], train_options: Mapping[str, Any], jobs: int, console: Console
) -> list[Outcome]:
    """Train the runs that are not finished, ``jobs`` at a time; a failed one stops no other.

    Args:
        runs: All that is needed, in the order of their start. Those that another process is
            training come last and are waited for.
        train_options: Of :func:`semaug.engine.loop.train`, but for ``resume`` and ``console``.
            Threads and processes that decode images are shared out among the jobs, unless they
            are given.
        jobs: How many at a time. On a GPU each takes its own memory.
        console: Shows a line for each running job, and why runs failed.

    Returns:
        One for each of ``runs``, in their order.

    Raises:
        InterruptedRunError: After Ctrl-C or SIGTERM, with all runs saved.
        ValueError: If ``jobs`` is below 1.
    """
    check_positive_int("run_jobs", jobs=jobs)
    options = _shared_out(train_options, min(jobs, len(runs)))

    def train_waiting(
        waiting: list[Run], outcomes: dict[Path, Outcome], display: JobsDisplay
    ) -> None:
        _train_all(waiting, options, jobs, outcomes, display)

    return train_missing_runs(runs, options, console, train_waiting)


def _shared_out(train_options: Mapping[str, Any], jobs: int) -> dict[str, Any]:
    options = dict(train_options)
    if jobs > 1:
        import torch

        from semaug.engine.device import count_workers

        if options.get("threads") is None:
            options["threads"] = max(1, torch.get_num_threads() // jobs)
        if options.get("workers") is None:
            options["workers"] = max(1, count_workers(None) // jobs)
    return options


# The queue.


class _Worker:
    """A process that trains one run after the other, and what it is training now."""

    def __init__(self) -> None:
        self.connection, theirs = _processes.Pipe()
        # No daemon: those may not have processes of their own, which decode images.
        self.process = _processes.Process(target=_work, args=(theirs,), daemon=False)
        self.process.start()
        theirs.close()  # so that the death of the process ends the connection
        self.run: Run | None = None

    def give(self, run: Run, options: Mapping[str, Any]) -> None:
        self.run = run
        with suppress(OSError):  # if it died, `take` will find out
            self.connection.send((run, options))

    def take(self) -> tuple[Run, Outcome | None]:
        """Return what became of the run; None if another process is training it."""
        assert self.run is not None
        run, self.run = self.run, None
        try:
            return run, self.connection.recv()
        except (EOFError, OSError):
            self.process.join()
            code = self.process.exitcode
            hint = ", perhaps for want of memory" if code == -signal.SIGKILL else ""
            return run, Outcome(run, error=f"its process died with exit code {code}{hint}")

    def end(self) -> None:
        self.connection.close()
        self.process.join()


@contextmanager
def _workers() -> Iterator[list[_Worker]]:
    """Collect workers, and leave none behind."""
    workers: list[_Worker] = []
    try:
        yield workers
    except BaseException:
        for worker in workers:
            worker.process.kill()
        raise
    finally:
        for worker in workers:
            worker.end()


def _train_all(
    waiting: list[Run],
    options: Mapping[str, Any],
    jobs: int,
    outcomes: dict[Path, Outcome],
    display: JobsDisplay,
) -> None:
    """Fill in the outcomes of runs that wait."""
    not_before: dict[Path, float] = {}
    with watch_interrupts() as interrupt, _workers() as workers:
        while True:
            if interrupt:
                _stop(workers)
                raise InterruptedRunError(
                    f"stopped with {display.done} of {display.total} runs done; the others "
                    "are saved",
                    interrupt.signal_number,
                )
            if not waiting and not any(worker.run for worker in workers):
                return
            now = time.monotonic()
            for run in [run for run in waiting if not_before.get(run.folder, 0.0) <= now]:
                worker = _idle(workers, jobs)
                if worker is None:
                    break
                waiting.remove(run)
                worker.give(run, options)
            for worker in _ready(workers):
                run, outcome = worker.take()
                if outcome is None:
                    waiting.append(run)
                    not_before[run.folder] = time.monotonic() + _SECONDS_BETWEEN_TRIES
                else:
                    outcomes[run.folder] = outcome
                    display.show_outcome(outcome)
            display.show_running([worker.run for worker in workers if worker.run])


def _idle(workers: list[_Worker], jobs: int) -> _Worker | None:
    """Find a worker with nothing to do, or start one, None if there are as many as wanted."""
    workers[:] = [worker for worker in workers if worker.run or worker.process.is_alive()]
    for worker in workers:
        if worker.run is None:
            return worker
    if len(workers) == jobs:
        return None
    workers.append(_Worker())
    return workers[-1]


def _ready(workers: list[_Worker], seconds: float | None = _SECONDS_BETWEEN_LOOKS) -> list[_Worker]:
    """Wait a while for workers that are done, or dead."""
    busy = [worker for worker in workers if worker.run]
    ready = wait([worker.connection for worker in busy], seconds)
    return [worker for worker in busy if worker.connection in ready]


def _stop(workers: list[_Worker]) -> None:
    """Let all workers save what they train, and wait for it."""
    for worker in workers:
        worker.process.terminate()
    while any(worker.run for worker in workers):
        for worker in _ready(workers, None):
            worker.take()


# In a worker.


def _work(connection: Connection) -> None:
    os.setpgrp()  # Ctrl-C in a terminal reaches the first process alone, which tells the others
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # `train` has its own meanwhile
    threading.Thread(target=_stop_without_parent, daemon=True).start()
    try:
        while True:
            run, options = connection.recv()
            connection.send(_train_one(run, options))
    except (EOFError, OSError, KeyboardInterrupt):
        pass


def _stop_without_parent() -> None:
    """Save and stop when the first process was killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)


def _train_one(run: Run, options: Mapping[str, Any]) -> Outcome | None:
    """Train in a worker; None if another process does already."""
    try:
        with open_log(run) as log:
            for output in (1, 2):  # of libraries and of processes that this one starts, too
                os.dup2(log.fileno(), output)
            return train_logged(run, options, log)
    except InterruptedRunError as stop:
        return Outcome(run, error=str(stop))
    except OSError as error:  # of the log: it cannot be opened, or the disk is full
        return Outcome(run, error=str(error))
