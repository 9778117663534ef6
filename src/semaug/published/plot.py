"""Tables as figures: the papers draw some of them, and any can be drawn."""

from collections.abc import Sequence
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from semaug.errors import UserError
from semaug.published.figures import CURVES
from semaug.published.table import Cell
from semaug.report.collect import make_group, read_run
from semaug.report.data import RecipeRuns
from semaug.report.picture import SERIES, add_legend, settings, wrapped
from semaug.report.plots import main_plot, series
from semaug.runs.statistics import mean_and_spread


def draw_table(name: str, cells: Sequence[Cell]) -> Figure:
    """Draw what was measured, and what the paper prints.

    Tables in :data:`semaug.published.figures.CURVES` are learning curves, of unfinished runs too.
    Of the others a row is a place on the axis, and a column a line of means over seeds, with one
    standard deviation up and down; printed numbers are rings.

    Args:
        name: Of the table.
        cells: Of the table.

    Raises:
        UserError: If there is nothing to draw yet.
    """
    nothing = f"table: expected runs of {name} to draw, got none; --run trains them"
    if name in CURVES:
        notes: list[str] = []
        recipes = [
            RecipeRuns(f"{cell.entry.row}, {cell.entry.column}", tuple(found))
            for cell in cells
            if (found := [one for run in cell.runs if (one := read_run(run.folder, notes))])
        ]
        plot = main_plot("curves", make_group(name, recipes)) if recipes else None
        if plot is None:
            raise UserError(nothing)
        return plot.draw(legend=True)
    told = [cell for cell in cells if cell.entry.metric and (cell.values() or cell.entry.published)]
    if not told:
        raise UserError(nothing)
    measure = told[0].entry.measure
    told = [cell for cell in told if cell.entry.measure == measure]
    rows = [*dict.fromkeys(cell.entry.row for cell in told)]
    starts, shown = {row.partition(" = ")[0] for row in rows}, rows
    if len(starts) == 1 and len(rows) > 1:  # such as M = 1, M = 2
        shown = [row.partition(" = ")[2] for row in rows]
    with matplotlib.rc_context(settings("table")):
        figure = Figure((max(4.6, 0.6 * len(rows)), 3.6), layout="constrained")
        axes, lines = figure.subplots(), []
        for place, column in enumerate(dict.fromkeys(cell.entry.column for cell in told)):
            own = [cell for cell in told if cell.entry.column == column]
            color, dashes = series(place, wide=True)
            look: dict[str, Any] = {
                "color": SERIES[color],
                "linestyle": (0, dashes) if dashes else "-",
            }
            points = [
                (rows.index(cell.entry.row), *mean_and_spread([*values.values()]))
                for cell in own
                if (values := cell.values())
            ]
            spreads = [spread or 0 for *_, spread in points]
            drawn = axes.errorbar(
                [x for x, *_ in points],
                [mean for _, mean, _ in points],
                spreads,
                marker="o",
                markersize=4,
                capsize=2,
                elinewidth=0.8,
                label=column,
                **look,
            )
            lines.append(drawn)
            for cell in own:
                if number := cell.entry.published:
                    at = rows.index(cell.entry.row), number.mean
                    axes.plot(*at, "o", markerfacecolor="none", color=SERIES[color])
        letters = 16 if shown is not rows else 24
        rotation = 0 if shown is not rows else 90
        axes.set_xticks(range(len(rows)), [wrapped(x, letters) for x in shown], rotation=rotation)
        axes.set(xlabel=starts.pop() if shown is not rows else "", ylabel=measure.heading())
        axes.grid(axis="y")
        axes.set_title(name)
        add_legend(figure, lines)
        return figure
