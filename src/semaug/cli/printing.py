"""What the command line prints about runs, comparisons and names."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from semaug.report.compare import (
    MEASURES,
    Arm,
    Comparison,
    conclusion,
    measured_error,
    unequal_warnings,
)
from semaug.runs.run import Run
from semaug.runs.statistics import with_spread
from semaug.runs.words import in_words, say
from semaug.runs.work import work_of

__all__ = ["make_table", "print_comparison", "print_names", "print_summary"]


def make_table(title: str | None, words: Sequence[str], *numbers: str, lines: bool = True) -> Table:
    """Make a table whose first columns hold words, which may be broken, and the others numbers.

    Args:
        title: Stands above it.
        words: Headings of the first columns.
        *numbers: Headings of the others.
        lines: Whether there are lines around the cells.
    """
    table = Table(
        title=title,
        title_justify="left",
        show_header=any((*words, *numbers)),
        box=box.HEAVY_HEAD if lines else None,
        pad_edge=lines,
    )
    for heading in words:
        table.add_column(heading, overflow="fold")
    for heading in numbers:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def print_summary(console: Console, run: Run, summary: dict[str, Any]) -> None:
    """Print the results of a run."""
    epochs = summary["epochs"]
    say(
        console,
        f"{measured_error([summary])} {summary['error_mean_last_10']:.2f} % "
        f"(mean of the last {min(10, epochs)} epochs), "
        f"{summary['error_last']:.2f} % last, {summary['error_best']:.2f} % best",
        style="bold",
    )
    duration = in_words(summary["seconds"])
    say(console, f"{epochs} epochs in {duration} on {summary['device']}")
    say(console, f"all about it in {run.folder}: summary.json, metrics.jsonl, tensorboard")


def print_comparison(console: Console, comparison: Comparison) -> None:
    """Print the table of two arms, their difference, and what it means."""
    arms = comparison.arms
    num_seeds = len(comparison.first.runs)
    seeds = "1 seed" if num_seeds == 1 else f"{num_seeds} seeds"
    measured = measured_error(summary for arm in arms for summary in arm.summaries)
    title = f"{measured.capitalize()} in percent (lower is better), {seeds} each"
    headings = ("mean of last\n10 epochs", "last\nepoch", "best\nepoch")
    table = make_table(title, ["recipe"], *headings)
    for arm in arms:
        for k in range(arm.num_networks):
            label = arm.label if arm.num_networks == 1 else f"{arm.label}, network {k + 1}"
            cells = [with_spread(arm.values(measure, k)) for measure in MEASURES]
            table.add_row(Text(label), *cells)
    console.print(table)

    for k in range(comparison.num_networks):
        difference = comparison.difference(network=k)
        which = "" if comparison.num_networks == 1 else f" of network {k + 1}"
        line = f"paired difference of the first column, second - first{which}: "
        line += f"{difference.mean:+.2f}"
        if difference.low is not None:
            line += f", 95 % confidence interval {difference.low:+.2f} to {difference.high:+.2f}"
        say(console, line)
        if k == 0 and num_seeds > 1:
            say(console, "± is the standard deviation over seeds")
        say(console, conclusion(comparison, k), style="bold")
    for line in unequal_warnings(comparison):
        say(console, f"warning: {line}", style="yellow")
    _print_work(console, arms)
    seconds = [sum(arm.values("seconds")) for arm in arms]
    devices = sorted({summary["device"] for arm in arms for summary in arm.summaries})
    say(
        console,
        f"training took {in_words(seconds[0] / num_seeds)} and "
        f"{in_words(seconds[1] / num_seeds)} a run, {in_words(sum(seconds))} in all, "
        f"on {'; '.join(devices)}",
    )
    for file in ("compare.json", "curves.png"):
        say(console, f"wrote {comparison.folder / file}")


def _print_work(console: Console, arms: Sequence[Arm]) -> None:
    """Say what a run of each arm takes, and in what they differ."""
    works = [work_of(arm.summaries[0]) for arm in arms]
    known = [work for work in works if work is not None]
    if not known:
        return
    if works[0] == works[1]:
        say(console, f"each run: {works[0]}")
        return
    for arm, work in zip(arms, works, strict=True):
        say(console, f"each run of {arm.label}: {work or 'steps and passes not recorded'}")
    if len(known) == 2:
        first, second = map(asdict, known)
        unequal = [name.replace("_", " ") for name in first if first[name] != second[name]]
        say(console, f"the arms differ in {', '.join(unequal)}", style="yellow")


def print_names(console: Console, title: str, names: Mapping[str, str]) -> None:
    """Print names with their descriptions."""
    table = make_table(title, ["", ""], lines=False)
    for name, description in names.items():
        table.add_row(Text(name, style="bold"), Text(description))
    console.print(table)
    console.print()
