"""A table of the papers, with what was measured here beside what they print."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from semaug._names import unknown_name
from semaug.recipes.tables import recipe_of
from semaug.results import PublishedNumber, load_published
from semaug.training.errors import UserError
from semaug.training.run import Run
from semaug.training.statistics import mean_and_spread

__all__ = ["Cell", "fill_table", "find_table"]

_MEASURED = ("error_percent", "top1_error_percent")  # what a run reports


@dataclass(frozen=True)
class Cell:
    """One published error, and the runs that measure it.

    Args:
        published: What the paper prints.
        recipe: That it is a result of; None if there is none.
        runs: Of this recipe, one for each seed.
    """

    published: PublishedNumber
    recipe: str | None
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

        It is the mean error of the last ten epochs, as in the papers.

        Raises:
            UserError: If a summary is damaged.
        """
        if self.recipe is None:
            return "no recipe"
        if self.published.metric not in _MEASURED:
            return "not measured"
        errors = [summary["error_mean_last_10"] for _, summary in self.finished()]
        if not errors:
            return "not run"
        center, spread = mean_and_spread(errors)
        text = f"{center:.2f}" if spread is None else f"{center:.2f} ± {spread:.2f}"
        return f"{text} ({len(errors)})"


def find_table(name: str, rows: Iterable[str] = ()) -> tuple[PublishedNumber, ...]:
    """Return the errors that a table prints, in its order.

    Args:
        name: Paper and table, such as ``"isda-2"``.
        rows: Keep only rows whose label has one of these texts in it; none keeps all.

    Raises:
        UserError: If there is no such table or row.

    >>> [str(number) for number in find_table("isda-2", rows=["ResNet-32"])][:2]
    ['7.39 ± 0.10', '7.09 ± 0.12']
    """
    tables: dict[str, list[PublishedNumber]] = {}
    for number in load_published():
        if "error" in number.metric or "accuracy" in number.metric:
            tables.setdefault(f"{number.paper}-{number.table}", []).append(number)
    if name not in tables:
        raise UserError(unknown_name("table", "table", name, tables))
    wanted = tuple(rows)
    labels = {number.row for number in tables[name]}
    for text in wanted:
        if not any(text.lower() in label.lower() for label in labels):
            raise UserError(unknown_name("table", "row", text, labels))
    return tuple(
        number
        for number in tables[name]
        if not wanted or any(text.lower() in number.row.lower() for text in wanted)
    )


def fill_table(
    numbers: Iterable[PublishedNumber], make_runs: Callable[[str], Sequence[Run]]
) -> list[Cell]:
    """Put the runs of its recipe beside each number.

    Args:
        numbers: Such as :func:`find_table` returns.
        make_runs: Describes the runs of a recipe.
    """
    cells = []
    for number in numbers:
        recipe = recipe_of(number)
        cells.append(Cell(number, recipe, () if recipe is None else make_runs(recipe)))
    return cells
