"""A table of the papers, with what was measured here beside what they print."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from semaug._torch.names import unknown_name
from semaug.errors import UserError
from semaug.published import PublishedNumber, load_published
from semaug.published.costs import count_cost
from semaug.published.figures import FIGURES
from semaug.published.places import quantity_of, recipe_of
from semaug.runs.run import Run, all_options
from semaug.runs.statistics import (
    PairedDifference,
    mean_and_spread,
    paired_difference,
    with_spread,
)
from semaug.runs.work import work_of

__all__ = [
    "Cell",
    "Entry",
    "as_plain_data",
    "fill_table",
    "find_table",
    "notes_on",
    "table_names",
]

_ERROR = "error_mean_last_10"
_EQUAL_WORK = 0.02  # more of a difference is told
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
        quantity: What of its runs is shown, see :func:`semaug.published.places.quantity_of`.
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
        return _finished(self.runs)

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
            if any(run.summary() for run in self.runs):
                return "another recipe"  # of an earlier version, in the same folder
            return "not finished" if any(run.has_begun for run in self.runs) else "not run"
        return f"{with_spread(values)} ({len(values)})"

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

    def unequal(self) -> list[str]:
        """Name settings that should be the same in the pairs of :meth:`difference` and are not.

        Raises:
            UserError: If a summary is damaged.
        """
        from semaug.report.compare import unequal_settings  # brings matplotlib, which is slow

        pairs = self._pairs()
        if not pairs:
            return []
        baseline, own = zip(*pairs, strict=True)
        return list(unequal_settings(baseline, own))

    def extra_work(self) -> tuple[float, float] | None:
        """Return how many times the steps and the passes of its baseline this takes.

        None if they are equal but for the last steps of epochs, or not known.

        Raises:
            UserError: If a summary is damaged.
        """
        for baseline, own in self._pairs():
            work, base = work_of(own), work_of(baseline)
            if work is not None and base is not None:
                steps = work.optimizer_steps / base.optimizer_steps
                passes = work.forward_passes / base.forward_passes
                if max(abs(steps - 1), abs(passes - 1)) > _EQUAL_WORK:
                    return steps, passes
        return None

    def _pairs(self) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        """Return the summaries of the baseline and of this, of seeds that both finished."""
        own, baseline = (
            {run.seed: summary for run, summary in _finished(runs)}
            for runs in (self.runs, self.baseline_runs)
        )
        return [(baseline[seed], own[seed]) for seed in sorted(own.keys() & baseline.keys())]

    def _values(self, runs: Iterable[Run]) -> dict[int, float]:
        both = ((run.seed, self._value(run, summary)) for run, summary in _finished(runs))
        return {seed: value for seed, value in both if value is not None}

    def _value(self, run: Run, summary: dict[str, Any]) -> float | None:
        """Read what is shown of a finished run."""
        if self.entry.test_set is not None:
            from semaug.transfer import transfer_accuracies

            accuracy = (transfer_accuracies(run.folder) or {}).get(self.entry.test_set)
            error = None if accuracy is None else 100 - accuracy
        else:
            error = summary.get(self.entry.quantity)
        if error is None:
            return None
        return 100 - error if self.entry.accuracy else error


def _finished(runs: Iterable[Run]) -> list[tuple[Run, dict[str, Any]]]:
    """Return the runs that are finished, with their summaries, but for those of other recipes."""
    both = ((run, run.summary()) for run in runs)
    return [(run, summary) for run, summary in both if summary is not None and _is_of(run, summary)]


def _is_of(run: Run, summary: dict[str, Any]) -> bool:
    found = all_options(summary.get("recipe", {}))
    asked = all_options(run.recipe.as_plain_data())
    # What is left to the device is decided there.
    return all(value in (found.get(name), "auto") for name, value in asked.items())


def table_names() -> tuple[str, ...]:
    """Return the names of all tables, in the order of the papers."""
    return tuple(_tables())


def find_table(name: str, rows: Iterable[str] = ()) -> tuple[Entry, ...]:
    """Return the places of a table, in its order.

    Args:
        name: Paper and table, such as ``"isda-2"``, or a name of
            :data:`semaug.published.figures.FIGURES`.
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


def notes_on(cells: Sequence[Cell]) -> list[str]:
    """Say, in a line each, what to know of the numbers in a table.

    Raises:
        UserError: If a summary is damaged.
    """
    notes: dict[str, list[Cell]] = {}
    for cell in cells:
        for note in _notes_on(cell):
            notes.setdefault(note, []).append(cell)
    return [
        f"{note}: {_place(members[0])}" + (f", and {len(members) - 1} more" * (len(members) > 1))
        for note, members in notes.items()
    ]


def _notes_on(cell: Cell) -> Iterator[str]:
    if cell.difference() is not None:
        extra = cell.extra_work()
        if extra is not None:
            steps, passes = extra
            yield f"{steps:.2f} x the steps and {passes:.2f} x the passes of its baseline"
        unequal = cell.unequal()
        if unequal:
            yield f"another {' and '.join(unequal)} than its baseline"
    if cell.entry.test_set is not None and cell.finished() and not cell.values():
        yield "trained, but not tested on this set, which --run or semaug transfer does"


def _place(cell: Cell) -> str:
    return f"{cell.entry.row}, {cell.entry.column}"


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
    extra = cell.extra_work()
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
        "times_work_of_baseline": None
        if extra is None
        else {"steps": extra[0], "passes": extra[1]},
        "differs_from_baseline_in": cell.unequal(),
        "seconds": [summary["seconds"] for summary in finished if "seconds" in summary],
        **{
            f"{what}s": sorted({summary[what] for summary in finished if what in summary})
            for what in ("device", "commit")
        },
    }
