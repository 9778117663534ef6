"""How a run shows its progress: a bar on a terminal, else a line now and then."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from semaug.engine.session import Session
from semaug.recipe.recipe import Recipe

__all__ = ["Display", "show_progress"]

_SECONDS_BETWEEN_REFRESHES = 0.3  # each makes an accelerator wait
_SECONDS_BETWEEN_LINES = 10.0


class Display:
    """Shows steps on a bar, and epochs as lines where there is no terminal."""

    def __init__(self, console: Console, recipe: Recipe, bar: Progress | None) -> None:
        self._console = console
        self._epochs = recipe.epochs
        self._bar = bar
        self._next_refresh = 0.0
        self._next_line = time.monotonic() + _SECONDS_BETWEEN_LINES
        self._test_error = ""
        self._task = None if bar is None else bar.add_task("", total=None, text="starting")

    def wants_step(self) -> bool:
        """Whether it is time to read values, which without a bar it never is."""
        return self._bar is not None and time.monotonic() >= self._next_refresh

    def show_step(self, session: Session) -> None:
        """Move the bar, with means over the epoch so far."""
        self._next_refresh = time.monotonic() + _SECONDS_BETWEEN_REFRESHES
        if self._bar is None or self._task is None:
            return
        loss, error = session.means()
        total = self._epochs * session.steps_per_epoch
        text = (
            f"epoch {session.epoch + 1}/{self._epochs} loss {loss:.3f} error {error:.1f} % "
            f"{self._test_error}{session.images_per_second():,.0f} images/s left"
        )
        self._bar.update(self._task, completed=session.total_step, total=total, text=text)

    def show_test(self) -> None:
        """Say on the bar that the run is being tested."""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, text=f"testing {self._test_error}left")

    def show_epoch(self, row: dict[str, float | None]) -> None:
        """Print the row of an epoch where there is no bar, seldom; keep its test error."""
        if row["test_error"] is not None:
            self._test_error = f"test {row['test_error']:.2f} % "
        due = time.monotonic() >= self._next_line or row["epoch"] == self._epochs
        if self._bar is not None or not due:
            return
        self._next_line = time.monotonic() + _SECONDS_BETWEEN_LINES
        self._console.print(
            f"  epoch {row['epoch']}/{self._epochs} loss {row['train_loss']:.3f} "
            f"error {row['train_error']:.1f} % {self._test_error}"
            f"{row['images_per_second']:,.0f} images/s",
            highlight=False,
        )


@contextmanager
def show_progress(console: Console, recipe: Recipe) -> Iterator[Display]:
    """Show the progress of one run on the console while the block runs."""
    if not console.is_terminal:
        yield Display(console, recipe, None)
        return
    columns = (
        BarColumn(bar_width=5),
        TextColumn("{task.fields[text]}"),
        TimeRemainingColumn(compact=True),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        yield Display(console, recipe, bar)
