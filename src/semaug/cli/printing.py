"""What the command line prints about runs, comparisons and names."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from statistics import mean
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from semaug.runs.read import label_of, measure_of, measured, report_names, value_of
from semaug.runs.run import Run
from semaug.runs.statistics import with_spread
from semaug.runs.words import in_words, say

if TYPE_CHECKING:  # reports import matplotlib, which training does not need
    from semaug.report.compare import Comparison
    from semaug.report.data import RecipeRuns


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
    # The epochs of a run that counts steps are what lies between two tests.
    names = report_names(epochs, unit="epoch" if steps is None else "test")
    for predictor in summary["results"]:
        values = dict.fromkeys(
            f"{measure.text(value)} ({names[report]})"
            for report in sorted(names, key=lambda report: report != measure.report)
            if (value := value_of(summary, predictor, report=report)) is not None
        )
        line = f"{label_of(measured(summary), predictor)} {', '.join(values)}"
        say(console, line, style="bold")
    duration = in_words(summary["seconds"])
    length = f"{epochs} epoch{'s' * (epochs > 1)}" if steps is None else f"{steps:,} steps"
    say(console, f"{length} in {duration} on {summary['device']}")
    say(console, f"results in {run.folder}: summary.json, metrics.jsonl, tensorboard")


def print_comparison(console: Console, comparison: "Comparison") -> None:
    """Print the table of two recipes, their difference, and what it means."""
    from semaug.report.compare import conclusion, unequal_warnings

    group, sides = comparison.group, comparison.group.recipes
    measure, names = group.measure, group.report_names
    num_seeds = len(sides[0].runs)
    seeds = "1 seed" if num_seeds == 1 else f"{num_seeds} seeds"
    title = f"{measure.in_unit(group.measured)}, {measure.better} is better, {seeds} each"
    columns = {name.replace("last 10", "last\n10", 1): report for report, name in names.items()}
    table = make_table(title[0].upper() + title[1:], ["recipe"], *columns)
    for side in sides:
        for name in side.predictors:
            values = [[*side.values(report, name).values()] for report in columns.values()]
            cells = [with_spread(found) if found else "" for found in values]
            table.add_row(Text(label_of(side.label, name)), *cells)
    console.print(table)

    if num_seeds > 1:
        say(console, "± is the standard deviation over seeds")
    for pair in comparison.pairs:
        difference = pair.difference
        what = f"paired difference of the {names[measure.report]}, second - first"
        line = f"{label_of(what, pair.predictor)}: {difference.mean:+.2f}"
        if difference.low is not None:
            line += f", 95 % confidence interval {difference.low:+.2f} to {difference.high:+.2f}"
        say(console, line)
        say(console, conclusion(group, pair), style="bold")
    for line in unequal_warnings(comparison.pairs[0]):
        say(console, f"warning: {line}", style="yellow")
    _print_work(console, sides)
    seconds = [[run.seconds or 0.0 for run in side.runs] for side in sides]
    say(
        console,
        f"training took {' and '.join(in_words(mean(own)) for own in seconds)} a run, "
        f"{in_words(sum(map(sum, seconds)))} in all, "
        f"on {'; '.join(sorted({run.device for run in group.runs}))}",
    )
    for path in sorted(comparison.folder.iterdir()):
        say(console, f"wrote {path}")


def _print_work(console: Console, sides: "Sequence[RecipeRuns]") -> None:
    """Say what a run of each side takes, and in what they differ."""
    first, second = (side.runs[0].work for side in sides)
    if first == second:
        if first:
            say(console, f"each run: {first}")
        return
    for side, work in zip(sides, (first, second), strict=True):
        say(console, f"each run of {side.label}: {work or 'steps and passes not recorded'}")
    if first and second:
        own, other = asdict(first), asdict(second)
        unequal = [name.replace("_", " ") for name in own if own[name] != other[name]]
        say(console, f"the arms differ in {', '.join(unequal)}", style="yellow")


def print_names(console: Console, title: str, names: Mapping[str, str]) -> None:
    """Print names with their descriptions."""
    table = make_table(title, ["", ""], lines=False)
    for name, description in names.items():
        table.add_row(Text(name, style="bold"), Text(description))
    console.print(table)
    console.print()
