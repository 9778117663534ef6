"""What a job of a cluster does with its run, and what it makes of the signals that jobs get."""

import signal
from collections.abc import Mapping
from dataclasses import dataclass
from types import FrameType, ModuleType
from typing import Any, Self

from semaug.engine.interrupt import InterruptedRunError
from semaug.errors import UserError
from semaug.queue.outcome import Outcome
from semaug.queue.queue import open_log, train_logged
from semaug.runs.run import Run

__all__ = ["Task", "import_submitit"]


def import_submitit() -> ModuleType:
    """Return the module.

    Raises:
        UserError: If it is not installed.
    """
    try:
        import submitit
    except ModuleNotFoundError as error:
        raise UserError(
            f'cluster: {error}; install it with: pip install "semaug[cluster]"'
        ) from error
    return submitit


@dataclass(frozen=True)
class Task:
    """What a job does: it trains one run, and goes on with it whenever it is started again.

    Args:
        run: To train. All that must outlive the job is in its folder.
        train_options: Of :func:`semaug.engine.loop.train`.
    """

    run: Run
    train_options: Mapping[str, Any]

    def __call__(self) -> Outcome | None:
        """Train; None if another process does already.

        When submitit's signal announces the end of the job's time or its preemption, the run is
        saved after the current step, and submitit puts the job back into the queue.
        """
        submitit = import_submitit()
        with open_log(self.run) as log, _TimeIsUp(submitit) as time_is_up:
            while True:
                try:
                    return train_logged(self.run, self.train_options, log)
                except InterruptedRunError as stop:
                    if time_is_up:
                        time_is_up.requeue()
                    if stop.signal_number != signal.SIGTERM or not _kills_afterwards(submitit):
                        return Outcome(self.run, error=str(stop))
                    print("saved, and goes on until it is killed", file=log)

    def checkpoint(self) -> Any:
        """Return what the job does when it comes back: the same. Called by submitit."""
        return import_submitit().helpers.DelayedSubmission(self)


def _kills_afterwards(submitit: ModuleType) -> bool:
    """Whether SIGTERM is but a warning.

    Slurm sends it before it kills a job, be it for good or to start it again. One that ends by
    itself meanwhile counts as done, and would not be started again.
    """
    cluster: str = submitit.JobEnvironment().cluster
    return cluster == "slurm"


class _TimeIsUp:
    """Whether submitit's signal came, which it wants to answer at once, in the middle of a step.

    It is kept from submitit until the run is saved, by the way of SIGTERM, for which training
    listens while there is something to save.
    """

    def __init__(self, submitit: ModuleType) -> None:
        self._number = getattr(signal, f"SIG{submitit.JobEnvironment.USR_SIG}")
        self._came = False

    def __enter__(self) -> Self:
        self._untrained = signal.getsignal(signal.SIGTERM)
        self._answer: Any = signal.signal(self._number, self._receive)
        return self

    def __exit__(self, *error: object) -> None:
        signal.signal(self._number, self._answer)

    def __bool__(self) -> bool:
        return self._came

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self._came = True
        handler = signal.getsignal(signal.SIGTERM)
        if handler == self._untrained:
            self.requeue()
        elif handler is not signal.default_int_handler:  # else it was told to stop already
            signal.raise_signal(signal.SIGTERM)

    def requeue(self) -> None:
        """Let submitit put the job back into the queue, and end."""
        self._answer(self._number, None)
