"""A table of the papers, with what was measured here beside what they print."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from semaug._names import unknown_name
from semaug.recipes.figures import FIGURES
from semaug.recipes.tables import quantity_of, recipe_of
from semaug.results import PublishedNumber, load_published
from semaug.training.costs import count_cost
from semaug.training.errors import UserError
from semaug.training.run import Run
from semaug.training.statistics import mean_and_spread

__all__ = ["Cell", "Entry", "fill_table", "find_table", "table_names"]

_ERROR = "error_mean_last_10"
_TRANSFER = "transfer "  # before the name of a test set
# Differences of other numbers, and values of options that the text speaks of.
_NOT_SHOWN = ("reduction", "gain", "strength")


@dataclass(frozen=True)
class Entry:
    """A place in a table.

    Args:
        row: Label of its row.
        column: Label of its column.
        recipe: That it is a result of; None if there is none.
        quantity: What of its runs is shown, see :func:`semaug.recipes.tables.quantity_of`.
        accuracy: Whether it is shown as an accuracy in percent, not as an error.
        published: What the paper prints; None if it only draws it, or the table is ours.
    """

    row: str
    column: str
    recipe: str | None
    quantity: str = _ERROR
    accuracy: bool = False
    published: PublishedNumber | None = None

    @property
    def test_set(self) -> str | None:
        """The test set of :data:`semaug.transfer.TEST_SETS` that is meant; None if the usual."""
        test_set = self.quantity.removeprefix(_TRANSFER)
        return None if test_set == self.quantity else test_set


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
        entry = self.entry
        cost = None if entry.published is None else count_cost(entry.published)
        if cost is not None:
            return cost
        if not entry.quantity and self.entry.recipe is None:
            return "not measured"
        if entry.recipe is None:
            return "no recipe"
        values = [value for run in self.runs if (value := self._value(run)) is not None]
        if not values:
            return "not run" if not self.finished() else "not measured"
        center, spread = mean_and_spread(values)
        text = f"{center:.2f}" if spread is None else f"{center:.2f} ± {spread:.2f}"
        return f"{text} ({len(values)})"

    def _value(self, run: Run) -> float | None:
        """Read what is shown from the folder of a run."""
        if self.entry.test_set is not None:
            from semaug.transfer import transfer_accuracies

            accuracy = (transfer_accuracies(run.folder) or {}).get(self.entry.test_set)
            error = None if accuracy is None else 100 - accuracy
        else:
            error = (run.summary() or {}).get(self.entry.quantity)
        if error is None:
            return None
        return 100 - error if self.entry.accuracy else error


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
            accuracy = "accuracy" in number.metric
            places = (number.row, number.column, recipe_of(number), quantity_of(number), accuracy)
            entry = Entry(*places, number)
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
