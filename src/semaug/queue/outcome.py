"""One run of a queue: how it is trained there, and what became of it."""

import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import torch
from rich.console import Console

from semaug.engine.images import check_images_now
from semaug.engine.interrupt import InterruptedRunError
from semaug.engine.options import TrainOptions
from semaug.engine.train import settled, train
from semaug.errors import UserError
from semaug.runs.divergence import check_not_diverged
from semaug.runs.folder import check_same_recipe
from semaug.runs.run import Run, RunIsBusyError

_TAIL_BYTES = 1 << 14


@dataclass(frozen=True)
class Outcome:
    """What became of a run.

    Args:
        run: The run.
        summary: Content of ``summary.json``; None if the run failed.
        error: Why it failed; None if it is finished.
        diverged: Whether it failed because it diverged; it is not tried again.
    """

    run: Run
    summary: dict[str, Any] | None = None
    error: str | None = None
    diverged: bool = False

    def last_lines(self, count: int = 5) -> list[str]:
        """Return the end of the log."""
        return [line.decode(errors="replace") for line in tail(log_of(self.run))[-count:]]


def finished_before(run: Run, options: TrainOptions) -> Outcome | None:
    """Return the outcome of a run that finished or diverged before, None of any other.

    A run of another recipe, or of other images in a folder of the user's own, is a failure.
    """
    try:
        summary = run.summary()
        if summary is None and not run.diverged.exists():
            return None
        begun = settled(run, torch.device("cpu"))
        if summary is None:
            check_not_diverged(begun)
            return None
        check_same_recipe(begun, summary)
        check_images_now(begun, options)
        return Outcome(run, summary)
    except (FloatingPointError, OSError, UserError) as error:
        return _failed(run, error)


def train_one(run: Run, options: TrainOptions, console: Console) -> Outcome | None:
    """Train a run, or go on with it, and keep in its log why it failed.

    Args:
        run: To be trained.
        options: How to train it.
        console: Where to show its progress.

    Returns:
        None if another process is training the run.

    Raises:
        InterruptedRunError: After Ctrl-C or SIGTERM, with everything saved.
    """
    try:
        return Outcome(run, train(run, options, resume=True, console=console))
    except InterruptedRunError:
        raise
    except RunIsBusyError:
        return None
    except (FloatingPointError, OSError, UserError) as error:
        outcome, text = _failed(run, error), str(error)
    except Exception as error:  # a mistake of ours, which must not stop other runs
        outcome = Outcome(run, error=f"{type(error).__name__}: {error}")
        text = traceback.format_exc().rstrip()
    with suppress(OSError), open_log(run) as log:
        print(text, file=log)
    return outcome


def _failed(run: Run, error: Exception) -> Outcome:
    return Outcome(run, error=str(error), diverged=isinstance(error, FloatingPointError))


def log_of(run: Run) -> Path:
    """Return the file that keeps what a worker prints, and why the run failed."""
    return run.folder / "log.txt"


@contextmanager
def open_log(run: Run) -> Iterator[IO[str]]:
    """Open the log of a run, to add to it."""
    run.folder.mkdir(parents=True, exist_ok=True)
    with log_of(run).open("a", buffering=1) as log:
        yield log


def tail(path: Path) -> list[bytes]:
    """Return the last lines of a file, none if there is no such file."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
            return file.read().splitlines()
    except OSError:
        return []


def summaries_of(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """Return the summaries of runs that must all be finished.

    Raises:
        UserError: If one of them failed.
    """
    failed = [outcome for outcome in outcomes if outcome.error is not None]
    if failed:
        first, num_diverged = failed[0], sum(outcome.diverged for outcome in failed)
        again = "; the same command tries them again"
        if num_diverged:
            again += ", but for those that diverged"
        raise UserError(
            f"{len(failed)} of {len(outcomes)} runs failed, such as {first.run.label} seed "
            f"{first.run.seed}: {first.error}{'' if num_diverged == len(failed) else again}"
        )
    return [outcome.summary for outcome in outcomes if outcome.summary is not None]
