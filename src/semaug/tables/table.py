"""A table of the papers, with what was measured here beside what they print."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from semaug._names import unknown_name
from semaug.results import PublishedNumber, load_published
from semaug.tables.costs import count_cost
from semaug.tables.own import FIGURES
from semaug.tables.published import quantity_of, recipe_of
from semaug.training.errors import UserError
from semaug.training.run import Run
from semaug.training.statistics import PairedDifference, mean_and_spread, paired_difference

__all__ = ["Cell", "Entry", "as_plain_data", "fill_table", "find_table", "table_names"]

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
        quantity: What of its runs is shown, see :func:`semaug.tables.published.quantity_of`.
        accuracy: Whether it is shown as an accuracy in percent, not as an error.
        baseline: Recipe that the difference is taken to, seed by seed; None for none.
        published: What the paper prints; None if it only draws it, or the table is ours.
    """

    row: str
    column: str
    recipe: str | None
    quantity: str = _ERROR
    accuracy: bool = False
    baseline: str | None = None
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
        baseline_runs: Of the baseline, with the same seeds; none without a baseline.
    """

    entry: Entry
    runs: Sequence[Run]
    baseline_runs: Sequence[Run] = ()

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
        values = list(self.values().values())
        if not values:
            if self.finished():
                return "not measured"
            return "not finished" if any(run.has_begun for run in self.runs) else "not run"
        center, spread = mean_and_spread(values)
        text = f"{center:.2f}" if spread is None else f"{center:.2f} ± {spread:.2f}"
        return f"{text} ({len(values)})"

    def values(self) -> dict[int, float]:
        """Return what is shown for each seed whose run tells it.

        Raises:
            UserError: If a summary is damaged.
        """
        return self._values(self.runs)

    def difference(self) -> PairedDifference | None:
        """Return the difference to the baseline over common seeds; None if there are none.

        Raises:
            UserError: If a summary is damaged.
        """
        own, baseline = self.values(), self._values(self.baseline_runs)
        common = sorted(own.keys() & baseline.keys())
        if not common:
            return None
        return paired_difference(
            [baseline[seed] for seed in common], [own[seed] for seed in common]
        )

    def _values(self, runs: Iterable[Run]) -> dict[int, float]:
        both = ((run.seed, self._value(run)) for run in runs)
        return {seed: value for seed, value in both if value is not None}

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
            :data:`semaug.tables.own.FIGURES`.
        rows: Keep only the row with this label, or if there is none, rows whose label has the
            text in it; none keeps all.

    Raises:
        UserError: If there is no such table or row.

    >>> [entry.column for entry in find_table("isda-2", rows=["ResNet-32"])][:3]
    ['Params', 'CIFAR-10, Basic', 'CIFAR-10, ISDA']
    """
    tables = _tables()
    if name not in tables:
        raise UserError(unknown_name("table", "table", name, tables))
    labels = list(dict.fromkeys(entry.row for entry in tables[name]))
    wanted = {label for text in rows for label in _matching(text, labels)} or set(labels)
    return tuple(entry for entry in tables[name] if entry.row in wanted)


def _matching(text: str, labels: Sequence[str]) -> Sequence[str]:
    if text in labels:
        return [text]
    found = [label for label in labels if _plain(text) in _plain(label)]
    if not found:
        raise UserError(unknown_name("table", "row", text, labels))
    return found


def _plain(text: str) -> str:
    """Forget what the papers write in several ways: ResNet-32 and Resnet32."""
    return text.lower().replace("-", "")


@cache
def _tables() -> dict[str, tuple[Entry, ...]]:
    tables: dict[str, list[Entry]] = {}
    for number in load_published():
        if not number.metric.endswith(_NOT_SHOWN):
            accuracy = "accuracy" in number.metric
            places = (number.row, number.column, recipe_of(number), quantity_of(number), accuracy)
            entry = Entry(*places, published=number)
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

    def runs_of(recipe: str | None) -> Sequence[Run]:
        return () if recipe is None else make_runs(recipe)

    return [Cell(entry, runs_of(entry.recipe), runs_of(entry.baseline)) for entry in entries]


def as_plain_data(name: str, cells: Iterable[Cell]) -> dict[str, Any]:
    """Return a table as JSON takes it, with every value and where it was measured.

    Args:
        name: Of the table.
        cells: Of the table.
    """
    return {
        "table": name,
        "unit": "percent; parameters and operations as printed",
        "interval": "95 %, Student's t over pairs of runs with the same seed",
        "cells": [_cell_as_plain_data(cell) for cell in cells],
    }


def _cell_as_plain_data(cell: Cell) -> dict[str, Any]:
    entry, values, difference = cell.entry, cell.values(), cell.difference()
    finished = [summary for _, summary in cell.finished()]
    center, spread = mean_and_spread(list(values.values())) if values else (None, None)
    return {
        "row": entry.row,
        "column": entry.column,
        "published": None if entry.published is None else str(entry.published),
        "recipe": entry.recipe,
        "run": cell.runs[0].label if cell.runs else None,
        "quantity": entry.quantity,
        "accuracy": entry.accuracy,
        "measured": cell.measured(),
        "mean": center,
        "std": spread,
        "values": {str(seed): value for seed, value in values.items()},
        "baseline": entry.baseline,
        "minus_baseline": None if difference is None else asdict(difference),
        "seconds": [summary["seconds"] for summary in finished if "seconds" in summary],
        **{
            f"{what}s": sorted({summary[what] for summary in finished if what in summary})
            for what in ("device", "commit")
        },
    }
