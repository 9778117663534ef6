"""Runs one after the other in this process, with all that training shows."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from semaug.runs.run import Run, RunIsBusyError

__all__ = ["train_missing"]

_SECONDS_BETWEEN_LOOKS = 2.0


def train_missing(
    runs: Sequence[Run],
    train_one: Callable[[Run], dict[str, Any]],
    report: Callable[[str], None],
) -> list[dict[str, Any]]:
    """Train the runs that are not finished, and return the summaries of all.

    Runs that another process is training come last and are waited for. So several processes
    may be given the same runs, and share the work.

    Args:
        runs: All that is needed.
        train_one: Trains a run, or goes on with it, and returns its summary.
        report: Gets a line for each run.
    """
    summaries: dict[Path, dict[str, Any]] = {}
    waiting = list(runs)
    busy: list[Run] = []
    while waiting:
        for run in waiting:
            position = f"run {runs.index(run) + 1} of {len(runs)}: {run.label} seed {run.seed}"
            if run not in busy:
                report(f"{position} {run.state()}")
            try:
                summaries[run.folder] = train_one(run)
            except RunIsBusyError:
                if run not in busy:
                    report(f"{position} waits: another process is training it")
                    busy.append(run)
        waiting = [run for run in waiting if run.folder not in summaries]
        if waiting:
            time.sleep(_SECONDS_BETWEEN_LOOKS)
    return [summaries[run.folder] for run in runs]
