"""What all queues of runs share, whoever trains them: workers on one device, or a cluster.

A queue is given every run that is needed. It tells those that are finished from those to be
trained, has them trained, and says what became of each.
"""

import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from rich.console import Console

from semaug.engine.interrupt import InterruptedRunError
from semaug.errors import UserError
from semaug.queue.display import JobsDisplay, report_failure
from semaug.queue.outcome import Outcome, log_of
from semaug.runs.run import Run, RunIsBusyError

__all__ = ["finished_before", "open_log", "train_logged", "train_missing_runs"]


def train_missing_runs(
    runs: Sequence[Run],
    options: Mapping[str, Any],
    console: Console,
    train_waiting: Callable[[list[Run], dict[Path, Outcome], JobsDisplay], None],
) -> list[Outcome]:
    """Have the runs trained that are not finished, and report those that failed.

    Args:
        runs: All that is needed; the same one may come twice.
        options: Of :func:`semaug.engine.loop.train`, but for ``resume`` and ``console``.
        console: Shows progress, and why runs failed.
        train_waiting: Gets the runs to train, the outcomes by folder, which it fills in, and
            the display, which it keeps up to date.

    Returns:
        One for each of ``runs``, in their order.
    """
    outcomes: dict[Path, Outcome] = {}
    waiting: list[Run] = []
    for run in {run.folder: run for run in runs}.values():
        outcome = finished_before(run, options)
        if outcome is None:
            waiting.append(run)
        else:
            outcomes[run.folder] = outcome
    if waiting:
        with JobsDisplay(console, len(outcomes), len(waiting)) as display:
            train_waiting(waiting, outcomes, display)
    ordered = [outcomes[run.folder] for run in runs]
    for outcome in ordered:
        report_failure(outcome, console)
    return ordered


def finished_before(run: Run, options: Mapping[str, Any]) -> Outcome | None:
    """Return the outcome of a run that is finished or diverged before, None of any other."""
    try:
        if run.summary() is None and not run.diverged.exists():
            return None
        from semaug.engine.loop import train

        quiet = Console(quiet=True)  # trains nothing
        return Outcome(run, train(run, resume=True, console=quiet, **options))
    except RunIsBusyError:
        return None
    except (FloatingPointError, OSError, UserError) as error:
        return Outcome(run, error=str(error), diverged=isinstance(error, FloatingPointError))


@contextmanager
def open_log(run: Run) -> Iterator[IO[str]]:
    """Open the file that keeps what is printed while the run is trained, to add to it."""
    path = log_of(run)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", buffering=1) as log:
        yield log


def train_logged(run: Run, options: Mapping[str, Any], log: IO[str]) -> Outcome | None:
    """Train one run, or go on with it; None if another process does already.

    Raises:
        InterruptedRunError: After Ctrl-C or SIGTERM, with everything saved.
    """
    try:
        from semaug.engine.loop import train

        console = Console(file=log, soft_wrap=True)
        return Outcome(run, train(run, resume=True, console=console, **options))
    except RunIsBusyError:
        return None
    except InterruptedRunError as stop:
        print(stop, file=log)
        raise
    except (FloatingPointError, OSError, UserError) as error:
        print(error, file=log)
        return Outcome(run, error=str(error), diverged=isinstance(error, FloatingPointError))
    except Exception as error:  # a mistake of ours, which must not stop other runs
        traceback.print_exc(file=log)
        return Outcome(run, error=f"{type(error).__name__}: {error}")
