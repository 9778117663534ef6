"""What becomes of a run that a queue trains."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from semaug.errors import UserError
from semaug.runs.run import Run

__all__ = ["Outcome", "log_of", "summaries_of", "tail"]

_TAIL_BYTES = 1 << 14


@dataclass(frozen=True)
class Outcome:
    """What became of a run.

    Args:
        run: The run.
        summary: What ``summary.json`` holds; None if the run failed.
        error: Why it failed; None if it is finished.
        diverged: Whether it failed because numbers stopped being finite; it is not tried again.
    """

    run: Run
    summary: dict[str, Any] | None = None
    error: str | None = None
    diverged: bool = False

    @property
    def log(self) -> Path:
        """What was printed while the run was trained."""
        return log_of(self.run)

    def last_lines(self, count: int = 5) -> list[str]:
        """Return the end of the log."""
        return [line.decode(errors="replace") for line in tail(self.log)[-count:]]


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
            again += ", but for those whose numbers stopped being finite"
        raise UserError(
            f"{len(failed)} of {len(outcomes)} runs failed, such as {first.run.label} seed "
            f"{first.run.seed}: {first.error}{'' if num_diverged == len(failed) else again}"
        )
    return [outcome.summary for outcome in outcomes if outcome.summary is not None]


def log_of(run: Run) -> Path:
    """Return the file that keeps what a worker prints while it trains the run."""
    return run.folder / "log.txt"


def tail(path: Path) -> list[bytes]:
    """Return the last lines of a file, none if there is no such file."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
            return file.read().splitlines()
    except OSError:
        return []
