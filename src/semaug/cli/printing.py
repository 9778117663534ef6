"""What the command line prints about runs, comparisons and names."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from semaug.recipe.plan import NUM_AVERAGED
from semaug.report.compare import Arm, Comparison, conclusion, unequal_warnings
from semaug.runs.read import REPORTS, label_of, measure_of, measured, value_of
from semaug.runs.run import Run
from semaug.runs.statistics import with_spread
from semaug.runs.words import in_words, say
from semaug.runs.work import work_of


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
    """Print the results of a run, what it reports first."""
    measure, epochs, steps = measure_of(summary), summary["epochs"], run.recipe.steps
    names = REPORTS | {"mean_last_10": f"mean of last {min(NUM_AVERAGED, epochs)} epochs"}
    if steps is not None:  # its epochs are what lies between two tests
        names = {report: name.replace("epoch", "test") for report, name in names.items()}
    for predictor in summary["results"]:
        values = [
            f"{measure.text(value)} ({names[report]})"
            for report in sorted(names, key=lambda report: report != measure.report)
            if (value := value_of(summary, predictor, report=report)) is not None
        ]
        line = f"{label_of(measured(summary), predictor)} {', '.join(values)}"
        say(console, line, style="bold")
    duration = in_words(summary["seconds"])
    length = f"{epochs} epochs" if steps is None else f"{steps:,} steps"
    say(console, f"{length} in {duration} on {summary['device']}")
    say(console, f"results in {run.folder}: summary.json, metrics.jsonl, tensorboard")


def print_comparison(console: Console, comparison: Comparison) -> None:
    """Print the table of two arms, their difference, and what it means."""
    arms, measure = comparison.arms, comparison.measure
    num_seeds = len(comparison.first.runs)
    seeds = "1 seed" if num_seeds == 1 else f"{num_seeds} seeds"
    title = f"{measure.in_unit(comparison.measured)}, {measure.better} is better, {seeds} each"
    headings = [name.replace("last 10", "last\n10", 1) for name in REPORTS.values()]
    table = make_table(title[0].upper() + title[1:], ["recipe"], *headings)
    for arm in arms:
        for name in arm.predictors:
            cells = [with_spread(arm.values(report, name)) for report in REPORTS]
            table.add_row(Text(label_of(arm.label, name)), *cells)
    console.print(table)

    if num_seeds > 1:
        say(console, "± is the standard deviation over seeds")
    for name in comparison.differences:
        difference = comparison.difference(name)
        what = label_of(f"paired difference of the {REPORTS[measure.report]}, second - first", name)
        line = f"{what}: {difference.mean:+.2f}"
        if difference.low is not None:
            line += f", 95 % confidence interval {difference.low:+.2f} to {difference.high:+.2f}"
        say(console, line)
        say(console, conclusion(comparison, name), style="bold")
    for line in unequal_warnings(comparison):
        say(console, f"warning: {line}", style="yellow")
    _print_work(console, arms)
    seconds = [sum(summary["seconds"] for summary in arm.summaries) for arm in arms]
    devices = sorted({summary["device"] for arm in arms for summary in arm.summaries})
    say(
        console,
        f"training took {in_words(seconds[0] / num_seeds)} and "
        f"{in_words(seconds[1] / num_seeds)} a run, {in_words(sum(seconds))} in all, "
        f"on {'; '.join(devices)}",
    )
    for path in sorted(comparison.folder.iterdir()):
        say(console, f"wrote {path}")


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
