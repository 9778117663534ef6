"""A table of the papers, with what was measured here beside what they print."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from semaug._torch.names import unknown_name
from semaug.errors import UserError
from semaug.published.costs import count_cost
from semaug.published.figures import FIGURES
from semaug.published.numbers import load_published
from semaug.published.places import Entry, entry_of
from semaug.recipe.plain import completed, flat_options, recipe_to_plain_data
from semaug.report.data import unequal_settings
from semaug.runs.read import value_of
from semaug.runs.run import Run
from semaug.runs.statistics import (
    PairedDifference,
    mean_and_spread,
    paired_difference,
    with_spread,
)
from semaug.runs.work import work_of
from semaug.transfer import transfer_accuracies

_EQUAL_WORK = 0.02  # more of a difference is told
# Differences of other numbers, and values of options that the text speaks of.
_NOT_SHOWN = ("reduction", "gain", "strength")


@dataclass(frozen=True)
class Cell:
    """A place in a table, and the runs that measure it. Everything here reads their summaries.

    Args:
        entry: The place.
        runs: Of its recipe, one for each seed.
        baseline_runs: Of the baseline, with the same seeds; none without a baseline.

    Raises:
        UserError: If a summary is damaged.
    """

    entry: Entry
    runs: Sequence[Run]
    baseline_runs: Sequence[Run] = ()

    def finished(self) -> list[tuple[Run, dict[str, Any]]]:
        """Return the runs that are finished, with their summaries."""
        return _finished(self.runs)

    def measured(self) -> str:
        """Say what was measured: mean ± standard deviation (runs), or that nothing was.

        It is what the recipe reports, the mean of the last ten tests in the papers; costs are
        counted.
        """
        entry = self.entry
        if entry.published and (cost := count_cost(entry.published)):
            return cost
        if entry.recipe is None:
            return "no recipe" if entry.metric else "not measured"
        if values := [*self.values().values()]:
            return f"{with_spread(values)} ({len(values)})"
        if self.finished():
            return "not measured"
        if any(run.summary() for run in self.runs):
            return "another recipe"  # in the folder of the same name
        return "not finished" if any(run.has_started for run in self.runs) else "not run"

    def values(self) -> dict[int, float]:
        """Return what is shown for each seed whose run tells it."""
        return self._values(self.runs)

    def difference(self) -> PairedDifference | None:
        """Return the difference to the baseline over common seeds; None if there are none."""
        own, baseline = self.values(), self._values(self.baseline_runs)
        if not (common := sorted(own.keys() & baseline.keys())):
            return None
        return paired_difference(
            [baseline[seed] for seed in common], [own[seed] for seed in common]
        )

    def unequal(self) -> list[str]:
        """Name settings that should be the same in the pairs of :meth:`difference` and are not."""
        pairs = self._pairs()
        return list(unequal_settings(*zip(*pairs, strict=True))) if pairs else []

    def extra_work(self) -> tuple[float, float] | None:
        """Return how many times the steps and the passes of its baseline this takes.

        None if they are equal but for the last steps of epochs, or not known.
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
        baseline, own = (
            {run.seed: summary for run, summary in _finished(runs)}
            for runs in (self.baseline_runs, self.runs)
        )
        return [(baseline[seed], own[seed]) for seed in sorted(own.keys() & baseline.keys())]

    def _values(self, runs: Iterable[Run]) -> dict[int, float]:
        both = ((run.seed, self._value(run, summary)) for run, summary in _finished(runs))
        return {seed: value for seed, value in both if value is not None}

    def _value(self, run: Run, summary: dict[str, Any]) -> float | None:
        """Read what is shown of a finished run."""
        entry = self.entry
        if entry.test_set is not None:
            return (transfer_accuracies(run.folder) or {}).get(entry.test_set)
        value = value_of(summary, entry.predictor, entry.metric)
        return 100 - value if entry.accuracy and value is not None else value


def _finished(runs: Iterable[Run]) -> list[tuple[Run, dict[str, Any]]]:
    """Return the runs that are finished, with their summaries, but for those of other recipes."""
    both = ((run, run.summary()) for run in runs)
    return [(run, summary) for run, summary in both if summary is not None and _is_of(run, summary)]


def _is_of(run: Run, summary: dict[str, Any]) -> bool:
    found = flat_options(completed(summary["recipe"]))
    asked = flat_options(recipe_to_plain_data(run.recipe))
    # What is left to the device is decided there.
    return found.keys() == asked.keys() and all(
        asked[name] in (value, "auto") for name, value in found.items()
    )


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
        raise UserError(
            unknown_name("table", "table", name, tables, listed_by="semaug list tables")
        )
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
def _tables() -> Mapping[str, Sequence[Entry]]:
    tables: dict[str, Sequence[Entry]] = {}
    for number in load_published():
        if not number.metric.endswith(_NOT_SHOWN):
            name = f"{number.paper}-{number.table}"
            tables[name] = (*tables.get(name, ()), entry_of(number))
    own = {name: (*tables.get(name, ()), *entries) for name, entries in FIGURES.items()}
    return tables | own


def fill_table(entries: Iterable[Entry], make_runs: Callable[[str], Sequence[Run]]) -> list[Cell]:
    """Put the runs of its recipe at each place.

    Args:
        entries: Such as :func:`find_table` returns.
        make_runs: Describes the runs of a recipe.
    """
    return [
        Cell(entry, *(make_runs(one) if one else () for one in (entry.recipe, entry.baseline)))
        for entry in entries
    ]


def measures_of(cells: Iterable[Cell]) -> list[str]:
    """Name what a table shows, each with its unit and which way is better."""
    found = {cell.entry.measure for cell in cells if cell.entry.metric}
    lines = (f"{one.name} in {one.unit} ({one.better} is better)" for one in found)
    return sorted(line.replace("_", " ") for line in lines)


def notes_on(cells: Sequence[Cell]) -> list[str]:
    """Say, in a line each, what to know of the numbers in a table."""
    notes: dict[str, list[Cell]] = {}
    for cell in cells:
        for note in _notes_on(cell):
            notes.setdefault(note, []).append(cell)
    return [
        f"{note}: {members[0].entry.row}, {members[0].entry.column}"
        + (f", and {len(members) - 1} more" * (len(members) > 1))
        for note, members in notes.items()
    ]


def _notes_on(cell: Cell) -> Iterator[str]:
    if cell.difference() is not None:
        if extra := cell.extra_work():
            yield f"{extra[0]:.2f} x the steps and {extra[1]:.2f} x the passes of its baseline"
        if unequal := cell.unequal():
            yield f"another {' and '.join(unequal)} than its baseline"
    if cell.entry.test_set is not None and cell.finished() and not cell.values():
        yield "trained, but not tested on this set, which --run or semaug transfer does"


def as_plain_data(name: str, cells: Iterable[Cell]) -> dict[str, Any]:
    """Return a table as JSON takes it, with every value and where it was measured.

    Args:
        name: Of the table.
        cells: Of the table.
    """
    return {
        "table": name,
        "interval": "95 %, Student's t over pairs of runs with the same seed",
        "cells": [_cell_as_plain_data(cell) for cell in cells],
    }


def _cell_as_plain_data(cell: Cell) -> dict[str, Any]:
    entry, values, difference = cell.entry, cell.values(), cell.difference()
    extra, measure = cell.extra_work(), entry.measure if entry.metric else None
    finished = [summary for _, summary in cell.finished()]
    center, spread = mean_and_spread(list(values.values())) if values else (None, None)
    return {
        "row": entry.row,
        "column": entry.column,
        "published": None if entry.published is None else str(entry.published),
        "recipe": entry.recipe,
        "run": cell.runs[0].label if cell.runs else None,
        "metric": getattr(measure, "name", None),
        "unit": getattr(measure, "unit", None),
        "better": getattr(measure, "better", None),
        "predictor": entry.predictor,
        "test_set": entry.test_set,
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
        "seconds": [summary["seconds"] for summary in finished],
        "devices": sorted({summary["device"] for summary in finished}),
        "commits": sorted({summary["commit"] for summary in finished}),
    }
