"""What the command line prints about runs, comparisons and names."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from itertools import chain, product
from statistics import mean
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from semaug.runs.read import (
    Measure,
    is_untested,
    label_of,
    measure_of,
    measured,
    measures_of,
    report_names,
    value_of,
)
from semaug.runs.run import Run
from semaug.runs.statistics import with_spread
from semaug.runs.words import counted, in_words, say
from semaug.runs.work import Work, describe_work

if TYPE_CHECKING:  # reports import matplotlib, which training does not need
    from semaug.report.compare import Comparison
    from semaug.report.data import Group, RecipeRuns


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
    measure, *others = measures_of(summary)
    epochs, steps = summary["epochs"], run.recipe.steps
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
        beside = [
            f"{other.name} {other.text(value)} ({other.better} is better)"
            for other in others
            if (value := value_of(summary, predictor, other.name, other.report)) is not None
        ]
        if beside:
            say(console, f"  {names[measure.report]} of other metrics: {', '.join(beside)}")
    if is_untested(summary):
        say(console, "not tested, for there are no images to test on", style="bold")
    duration = in_words(summary["seconds"])
    length = f"{epochs} epoch{'s' * (epochs > 1)}" if steps is None else f"{steps:,} steps"
    say(console, f"{length} in {duration} on {summary['device']}")
    say(console, f"results in {run.folder}: summary.json, metrics.jsonl, tensorboard")


def print_comparison(console: Console, comparison: "Comparison") -> None:
    """Print the table of two recipes, their difference, and what it means."""
    from semaug.report.compare import conclusion, unequal_warnings

    group, sides = comparison.group, comparison.group.recipes
    measure, names = group.measure, group.report_names
    num_runs, unit = len(sides[0].runs), "fold" if sides[0].overlap else "seed"
    title = f"{measure.heading(group.measured)}, {counted(num_runs, unit)} each"
    columns = {name.replace("last 10", "last\n10", 1): report for report, name in names.items()}
    table = make_table(title[0].upper() + title[1:], ["recipe"], *columns)
    for side in sides:
        for name in side.predictors:
            chosen = [replace(measure, report=report) for report in columns.values()]
            table.add_row(Text(label_of(side.label, name)), *_cells(side, chosen, name))
    console.print(table)
    if group.others:
        console.print()
        _print_others(console, group)
        console.print()
    if num_runs > 1:
        say(console, f"± is the standard deviation over {unit}s")
    for pair in comparison.pairs:
        difference, digits = pair.difference, f"+.{measure.digits}f"
        what = f"paired difference of the {names[measure.report]}, second - first"
        line = f"{label_of(what, pair.predictor)}: {difference.mean:{digits}}"
        if difference.low is not None:
            low, high = (f"{end:{digits}}" for end in (difference.low, difference.high))
            line += f", 95 % confidence interval {low} to {high}"
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


def _cells(side: "RecipeRuns", measures: Sequence[Measure], predictor: str) -> list[str]:
    values = [([*side.values(one, predictor).values()], one.digits) for one in measures]
    return [with_spread(found, digits) if found else "" for found, digits in values]


def _print_others(console: Console, group: "Group") -> None:
    """Print a table of what is measured beside the main metric."""
    from semaug.report.data import compare

    names = group.report_names[group.measure.report]
    numbers = "first", "second", "second\n- first", "95 % interval"
    table = make_table(f"Other metrics, {names}", ["metric"], *numbers, lines=False)
    for other, name in product(group.others, group.predictors):
        cells = [*chain.from_iterable(_cells(side, [other], name) for side in group.recipes)]
        if pair := compare(group.recipes[0], group.recipes[1], other, name):
            found, digits = pair.difference, f"+.{other.digits}f"
            cells.append(f"{found.mean:{digits}}")
            if found.low is not None:
                cells.append(f"{found.low:{digits}} to {found.high:{digits}}")
        table.add_row(Text(label_of(other.heading(), name)), *cells)
    console.print(table)


def _print_work(console: Console, sides: "Sequence[RecipeRuns]") -> None:
    """Say what a run of each side takes, and in what they differ."""
    first, second = ([run.work for run in side.runs] for side in sides)
    texts = [describe_work(first), describe_work(second)]
    if first == second:
        if texts[0]:
            say(console, f"each run: {texts[0]}")
        return
    for side, text in zip(sides, texts, strict=True):
        say(console, f"each run of {side.label}: {text or 'steps and passes not recorded'}")
    if all(texts):
        unequal = [
            field.name.replace("_", " ")
            for field in fields(Work)
            if any(
                getattr(one, field.name) != getattr(other, field.name)
                for one, other in zip(first, second, strict=True)
            )
        ]
        say(console, f"the arms differ in {', '.join(unequal)}", style="yellow")


def print_refit(console: Console, run: Run, expected: Mapping[str, Any]) -> None:
    """Say where the run on all images lies, what error to expect of it, and what it is for."""
    measure = measure_of(expected)
    values = with_spread(expected["values"], measure.digits)
    say(
        console,
        f"trained on {expected['train_images']:,} images, without a test: {run.folder}; expected "
        f"{measure.name} {values} {measure.unit}".rstrip()
        + f", that of {counted(len(expected['values']), 'fold')}",
        style="bold",
    )
    folder = shlex.quote(str(run.folder))
    say(
        console,
        f"classify with it: semaug predict {folder} PHOTOS; pass it on: semaug export {folder}",
    )


def print_names(console: Console, title: str, names: Mapping[str, str]) -> None:
    """Print names with their descriptions."""
    table = make_table(title, ["", ""], lines=False)
    for name, description in names.items():
        table.add_row(Text(name, style="bold"), Text(description))
    console.print(table)
    console.print()
