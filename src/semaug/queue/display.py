"""What a person sees of a queue of runs."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from semaug.queue.outcome import Outcome, log_of, tail
from semaug.runs.files import read_json
from semaug.runs.read import measure_of, row_name, value_of
from semaug.runs.run import Run
from semaug.runs.words import counted, say

_OTHERS = 50  # characters of a line for a job, but for the name of its run


class JobsDisplay:
    """A line for each running job and one for all, or a line for each outcome where none move.

    Args:
        console: To show it on.
        finished: How many runs were finished before.
        waiting: How many are not.
        bars: Whether lines may move; a run that shows its own progress has no others beside it.
    """

    def __init__(self, console: Console, finished: int, waiting: int, *, bars: bool = True) -> None:
        self.done = finished
        self.total = finished + waiting
        self._tasks: dict[Path, TaskID] = {}
        columns = (BarColumn(bar_width=10), TextColumn("{task.description}", markup=False))
        self._bars = Progress(
            *columns,
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not (bars and console.is_terminal),
        )
        self._all = self._bars.add_task("", total=self.total, completed=finished)
        say(console, f"runs: {self.total}, finished before: {finished}")

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bars.stop()

    def show_outcome(self, outcome: Outcome) -> None:
        """Say that a run is finished, or failed."""
        self.done += 1
        run = outcome.run
        if run.folder in self._tasks:
            self._bars.remove_task(self._tasks.pop(run.folder))
        ending = f"failed: {outcome.error}"
        if outcome.summary is not None:
            measure, value = measure_of(outcome.summary), value_of(outcome.summary)
            ending = "finished"
            if value is not None:
                ending += f", {measure.name} {measure.text(value)}"
        say(
            self._bars.console,
            f"{self.done} of {self.total}: {run.label} seed {run.seed} {ending}",
        )

    def show_running(self, runs: Sequence[Run]) -> None:
        """Move the lines of the running jobs, by what their runs have written."""
        if self._bars.disable:
            return
        for run in runs:
            counted = "step" if run.recipe.epochs is None else "epoch"
            total = getattr(run.recipe, f"{counted}s")
            if run.folder not in self._tasks:
                self._tasks[run.folder] = self._bars.add_task("", total=total)
            row = _last_row(run)
            done = row.get(counted, 0)
            text = f"{counted} {done:,}/{total:,} {_tested(run, row)}"
            text += _end_of(f"{run.label} seed {run.seed}", self._bars.console.width - _OTHERS)
            self._bars.update(self._tasks[run.folder], completed=done, description=text)
        text = f"{self.done} of {self.total} runs are done"
        self._bars.update(self._all, completed=self.done, description=text)


def _end_of(name: str, room: int) -> str:
    """Leave out the beginning of a name that is too long: the changes at its end tell runs apart.

    >>> _end_of("digits_resnet8_isda,strength=0.5 seed 0", 20)
    '…strength=0.5 seed 0'
    """
    room = max(room, 20)
    return name if len(name) <= room else f"…{name[1 - room :]}"


def _last_row(run: Run) -> dict[str, Any]:
    """Return the last whole row of a run that is being trained, an empty one before it."""
    for line in reversed(tail(run.metrics)):
        try:
            row: dict[str, Any] = json.loads(line)
        except ValueError:  # just being written
            continue
        return row
    return {}


def _tested(run: Run, row: dict[str, Any]) -> str:
    """Say the main metric of a row, such as "error 2.00 % ", if it was tested."""
    if not row:
        return ""
    measure = measure_of(read_json(run.folder / "recipe.json", "delete it, and --resume writes it"))
    value = row.get(row_name(measure.name))
    return "" if value is None else f"{measure.name} {measure.text(value)} "


def report_failures(outcomes: Iterable[Outcome], console: Console) -> None:
    """Show the ends of the logs of runs that failed; of several that failed alike, one."""
    failed: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        if outcome.error is not None:
            failed.setdefault(outcome.error, []).append(outcome)
    for error, alike in failed.items():
        run = alike[0].run
        others = f" and {counted(len(alike) - 1, 'other run')}" if len(alike) > 1 else ""
        lines = alike[0].last_lines()
        where = f"; the end of {log_of(run)}" if lines else ""
        say(console, f"{run.label} seed {run.seed}{others} failed{where}:", "red")
        for text in lines or [error]:
            say(console, f"  {text}")
