"""Many runs, of which those are trained that are not finished; a failed one stops no other.

A queue may be stopped or killed at any moment: given the same runs again it goes on, for each of
them lies in its own folder, which says whether it is finished and where it was saved last.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rich.console import Console

from semaug._torch.checks import check_positive_int
from semaug.engine.interrupt import InterruptedRunError
from semaug.engine.options import TrainOptions
from semaug.queue.display import JobsDisplay, report_failures
from semaug.queue.outcome import Outcome, finished_before, train_one
from semaug.queue.workers import share_out, train_side_by_side
from semaug.runs.run import Run
from semaug.runs.words import say

_SECONDS_BETWEEN_TRIES = 2.0  # of runs that another process is training


def train_runs(
    runs: Sequence[Run], options: TrainOptions, jobs: int, console: Console
) -> list[Outcome]:
    """Train the runs that are not finished, ``jobs`` at a time; a failed one stops no other.

    Several processes may be given the same runs, and share the work: runs that another process
    is training come last and are waited for.

    Args:
        runs: All that is needed, in the order of their start; the same one may come twice.
        options: How to train them. CPU threads and processes that decode images are shared out
            among the jobs, unless they are given.
        jobs: How many at a time. A single one trains in this process, and shows what training
            shows; several train in worker processes. On a GPU each takes its own memory.
        console: Shows progress, and why runs failed.

    Returns:
        One for each of ``runs``, in their order.

    Raises:
        InterruptedRunError: After Ctrl-C or SIGTERM, with all runs saved.
        ValueError: If ``jobs`` is below 1.
    """
    check_positive_int("train_runs", jobs=jobs)
    shared = share_out(options, min(jobs, len(runs)))

    def train_waiting(waiting: list[Run], display: JobsDisplay) -> Iterator[Outcome]:
        if jobs == 1:
            return _train_in_turn(waiting, options, console, display)
        return train_side_by_side(waiting, shared, min(jobs, len(waiting)), display)

    return train_missing(runs, options, console, train_waiting, bars=jobs > 1)


def train_missing(
    runs: Sequence[Run],
    options: TrainOptions,
    console: Console,
    train_waiting: Callable[[list[Run], JobsDisplay], Iterator[Outcome]],
    *,
    bars: bool = True,
) -> list[Outcome]:
    """Have the runs trained that are not finished, and report those that failed.

    Args:
        runs: All that is needed; the same one may come twice.
        options: How to train them.
        console: Shows progress, and why runs failed.
        train_waiting: Gets the runs to train, and the display to show on what is going on;
            yields the outcome of each.
        bars: Whether the display is moved while runs are trained.

    Returns:
        One for each of ``runs``, in their order.
    """
    different = {run.folder: run for run in runs}
    found = {folder: finished_before(run, options) for folder, run in different.items()}
    outcomes: dict[Path, Outcome] = {folder: one for folder, one in found.items() if one}
    waiting = [run for folder, run in different.items() if folder not in outcomes]
    if waiting:
        with JobsDisplay(console, len(outcomes), len(waiting), bars=bars) as display:
            for outcome in train_waiting(waiting, display):
                outcomes[outcome.run.folder] = outcome
                display.show_outcome(outcome)
    report_failures(outcomes.values(), console)
    return [outcomes[run.folder] for run in runs]


def _train_in_turn(
    waiting: list[Run], options: TrainOptions, console: Console, display: JobsDisplay
) -> Iterator[Outcome]:
    busy: list[Run] = []
    while waiting:
        for run in list(waiting):
            position = f"run {display.done + 1} of {display.total}: {run.label} seed {run.seed}"
            if run not in busy:
                say(console, f"{position} {run.state()}")
            try:
                outcome = train_one(run, options, console)
            except InterruptedRunError as stop:
                raise InterruptedRunError(
                    f"{stop}; {display.done} of {display.total} runs are done", stop.signal_number
                ) from stop
            if outcome is not None:
                waiting.remove(run)
                yield outcome
            elif run not in busy:
                say(console, f"{position} waits: another process is training it")
                busy.append(run)
        if waiting:
            time.sleep(_SECONDS_BETWEEN_TRIES)
