"""A table of the papers, with what was measured here beside what they print."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from semaug._names import unknown_name
from semaug.recipes.figures import FIGURES
from semaug.recipes.tables import recipe_of
from semaug.results import PublishedNumber, load_published
from semaug.training.costs import count_cost
from semaug.training.errors import UserError
from semaug.training.run import Run
from semaug.training.statistics import mean_and_spread

__all__ = ["Cell", "Entry", "fill_table", "find_table", "table_names"]

# What a run reports, and accuracies that follow from it.
_ERRORS = ("error_percent", "top1_error_percent")
_ACCURACIES = ("accuracy_percent", "top1_accuracy_percent")
_NOT_MEASURED = ("top5_error_percent", "top5_accuracy_percent", "extra_time_percent")
# Differences of other numbers, and values of options that the text speaks of.
_NOT_SHOWN = ("reduction", "gain", "strength")


@dataclass(frozen=True)
class Entry:
    """A place in a table.

    Args:
        row: Label of its row.
        column: Label of its column.
        recipe: That it is a result of; None if there is none.
        published: What the paper prints; None if it only draws it, or the table is ours.
    """

    row: str
    column: str
    recipe: str | None
    published: PublishedNumber | None = None


@dataclass(frozen=True)
class Cell:
    """A place in a table, and the runs that measure it.

    Args:
        entry: The place.
        runs: Of its recipe, one for each seed.
    """

    entry: Entry
    runs: Sequence[Run]

    def finished(self) -> list[tuple[Run, dict[str, Any]]]:
        """Return the runs that are finished, with what they came to.

        Raises:
            UserError: If a summary is damaged.
        """
        both = ((run, run.summary()) for run in self.runs)
        return [(run, summary) for run, summary in both if summary is not None]

    def measured(self) -> str:
        """Say what was measured: mean ± standard deviation (runs), or that nothing was.

        It is the mean error of the last ten epochs, as in the papers; costs are counted.

        Raises:
            UserError: If a summary is damaged.
        """
        published = self.entry.published
        metric = _ERRORS[0] if published is None else published.metric
        cost = None if published is None else count_cost(published)
        if cost is not None:
            return cost
        if metric in _NOT_MEASURED:
            return "not measured"
        if self.entry.recipe is None:
            return "no recipe"
        errors = [summary["error_mean_last_10"] for _, summary in self.finished()]
        if not errors:
            return "not run"
        values = errors if metric in _ERRORS else [100 - error for error in errors]
        center, spread = mean_and_spread(values)
        text = f"{center:.2f}" if spread is None else f"{center:.2f} ± {spread:.2f}"
        return f"{text} ({len(errors)})"


def table_names() -> tuple[str, ...]:
    """Return the names of all tables, in the order of the papers."""
    return tuple(_tables())


def find_table(name: str, rows: Iterable[str] = ()) -> tuple[Entry, ...]:
    """Return the places of a table, in its order.

    Args:
        name: Paper and table, such as ``"isda-2"``, or a name of
            :data:`semaug.recipes.figures.FIGURES`.
        rows: Keep only rows whose label has one of these texts in it; none keeps all.

    Raises:
        UserError: If there is no such table or row.

    >>> [entry.column for entry in find_table("isda-2", rows=["ResNet-32"])][:3]
    ['Params', 'CIFAR-10, Basic', 'CIFAR-10, ISDA']
    """
    tables = _tables()
    if name not in tables:
        raise UserError(unknown_name("table", "table", name, tables))
    wanted = tuple(rows)
    labels = {entry.row for entry in tables[name]}
    for text in wanted:
        if not any(text.lower() in label.lower() for label in labels):
            raise UserError(unknown_name("table", "row", text, labels))
    return tuple(
        entry
        for entry in tables[name]
        if not wanted or any(text.lower() in entry.row.lower() for text in wanted)
    )


@cache
def _tables() -> dict[str, tuple[Entry, ...]]:
    tables: dict[str, list[Entry]] = {}
    for number in load_published():
        if not number.metric.endswith(_NOT_SHOWN):
            entry = Entry(number.row, number.column, recipe_of(number), number)
            tables.setdefault(f"{number.paper}-{number.table}", []).append(entry)
    for name, lines in FIGURES.items():
        tables.setdefault(name, []).extend(Entry(*line) for line in lines)
    return {name: tuple(entries) for name, entries in tables.items()}


def fill_table(entries: Iterable[Entry], make_runs: Callable[[str], Sequence[Run]]) -> list[Cell]:
    """Put the runs of its recipe at each place.

    Args:
        entries: Such as :func:`find_table` returns.
        make_runs: Describes the runs of a recipe.
    """
    return [
        Cell(entry, () if entry.recipe is None else make_runs(entry.recipe)) for entry in entries
    ]
