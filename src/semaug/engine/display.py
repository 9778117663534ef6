"""How a run shows its progress: a bar on a terminal, else a line now and then."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Column

from semaug.runs.read import row_name, what_helps

if TYPE_CHECKING:
    from semaug.engine.session import Session

_SECONDS_BETWEEN_REFRESHES = 0.3  # each makes an accelerator wait
_SECONDS_BETWEEN_LINES = 10.0
_DIVERGING = 10.0  # times the training loss of the first epoch


class Display:
    """Shows steps on a bar, and epochs as lines where there is no terminal."""

    def __init__(self, console: Console, session: "Session", bar: Progress | None) -> None:
        self._console = console
        self._session = session
        self._first_loss: float | None = None
        self._epochs = session.plan.epochs
        self._main = session.measures[0]
        self._bar = bar
        self._next_refresh = 0.0
        self._next_line = time.monotonic() + _SECONDS_BETWEEN_LINES
        self._tested = ""
        self._task = None if bar is None else bar.add_task("", total=None, text="starting")

    def wants_step(self) -> bool:
        """Whether it is time to read values, which without a bar it never is."""
        return self._bar is not None and time.monotonic() >= self._next_refresh

    def show_step(self, session: "Session") -> None:
        """Move the bar, with means over the epoch so far."""
        self._next_refresh = time.monotonic() + _SECONDS_BETWEEN_REFRESHES
        if self._bar is None or self._task is None:
            return
        text = (
            f"epoch {session.epoch + 1}/{self._epochs} {self._describe_means(session.means())}"
            f"{self._tested}{session.images_per_second():,.0f} images/s left"
        )
        self._bar.update(
            self._task, completed=session.total_step, total=session.plan.total_steps, text=text
        )

    def show_test(self) -> None:
        """Say on the bar that the run is being tested."""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, text=f"testing {self._tested}left")

    def show_epoch(self, row: dict[str, Any]) -> None:
        """Print the row of an epoch where there is no bar, seldom; keep its test."""
        tested = row.get(row_name(self._main.name))
        if tested is not None:
            told = "" if f"train_{self._main.name}" in row else f"{self._main.name} "
            self._tested = f"test {told}{self._main.text(tested)} "
        self._warn_of_rise(row.get("train_loss"))
        due = time.monotonic() >= self._next_line or row["epoch"] == self._epochs
        if self._bar is not None or not due:
            return
        self._next_line = time.monotonic() + _SECONDS_BETWEEN_LINES
        learned = {
            name.removeprefix("train_"): value
            for name, value in row.items()
            if name.startswith("train_")
        }
        self._console.print(
            f"  epoch {row['epoch']}/{self._epochs} {self._describe_means(learned)}{self._tested}"
            f"{row['images_per_second']:,.0f} images/s",
            highlight=False,
        )

    def _warn_of_rise(self, loss: float | None) -> None:
        """Say once that the loss is far above that of the first epoch; it may stay finite."""
        first = self._first_loss
        if loss is None or first is None:
            self._first_loss = loss
        elif 0 < _DIVERGING * first < loss:
            self._first_loss = math.inf  # said once
            self._console.print(
                f"warning: the training loss rose from {first:.3g} to {loss:.3g}, as where it "
                f"diverges: {what_helps(self._session.run.plain()['recipe'])}",
                style="yellow",
                highlight=False,
            )

    def _describe_means(self, means: Mapping[str, float | None]) -> str:
        """Say the loss and the main metric of training images, such as "loss 0.5 error 2.0 %"."""
        text = f"loss {means['loss']:.3f} " if means.get("loss") is not None else ""
        value = means.get(self._main.name)
        unit = f" {self._main.unit}" if self._main.unit else ""
        return text if value is None else f"{text}{self._main.name} {value:.1f}{unit} "


@contextmanager
def show_progress(console: Console, session: "Session") -> Iterator[Display]:
    """Show the progress of one run on the console while the block runs."""
    if not console.is_terminal:
        yield Display(console, session, None)
        return
    columns = (
        BarColumn(bar_width=5),
        TextColumn("{task.fields[text]}"),
        TimeRemainingColumn(compact=True),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        yield Display(console, session, bar)


@contextmanager
def show_reading(console: Console) -> Iterator[Callable[[int, int], None]]:
    """Show that images are read while the block runs, on a terminal.

    What it yields is told how many images were hashed, to find near duplicates, and of how many.
    """
    columns = SpinnerColumn(), TextColumn("{task.description}"), BarColumn(bar_width=10)
    hidden = not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=hidden) as bar:
        task = bar.add_task("reading the images", total=None)
        what = "looking for near duplicates"
        yield lambda done, total: bar.update(task, description=what, completed=done, total=total)


@contextmanager
def show_bar(
    console: Console | None, description: str, total: int | None
) -> Iterator[Callable[[float], None]]:
    """Show a bar while the block runs, on a terminal; what it yields is told how many are done."""
    hidden = console is None or not console.is_terminal
    columns = (
        BarColumn(bar_width=10),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True)),
    )
    with Progress(*columns, console=console, transient=True, disable=hidden) as bar:
        task = bar.add_task(description, total=total)
        yield lambda count: bar.advance(task, count)
