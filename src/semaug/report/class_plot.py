"""Values of classes as a picture: a line for each class, a dot on it for each recipe."""

import math
from dataclasses import dataclass

import matplotlib
from matplotlib.figure import Figure

from semaug.report.classes import ClassValues
from semaug.report.data import Group
from semaug.report.svg import INK, SERIES, page_svg, settings

_LONGEST_NAME = 28  # letters; longer ones would leave no room for the dots


@dataclass(frozen=True)
class ClassPlot:
    """A picture of the main metric of each class of a group.

    Args:
        name: Unique in a report; names its files.
        group: Whose runs.
        classes: What is drawn: of many classes those at both ends, of many recipes the first.
    """

    name: str
    group: Group
    classes: ClassValues

    @property
    def title(self) -> str:
        """What it shows."""
        return f"{self.group.measured} by class"

    def describe(self) -> str:
        """Say in words where the dots are."""
        recipes = self.classes.recipes
        return " ".join(
            f"{row.name}: "
            + ", ".join(
                f"{recipe.label} {value:.4g}"
                for recipe, value in zip(recipes, row.values, strict=True)
                if value is not None
            )
            + "."
            for row in self.classes.ends()
        )

    def draw(self, *, legend: bool) -> Figure:
        """Draw it, the class that changes most for the better at the top."""
        rows = self.classes.ends()
        with matplotlib.rc_context(settings(self.name)):
            figure = Figure(figsize=(5.2, 0.8 + 0.2 * len(rows)), layout="constrained")
            axes = figure.subplots()
            for height, row in enumerate(rows):
                if known := [value for value in row.values[: len(SERIES)] if value is not None]:
                    axes.hlines(height, min(known), max(known), color=INK, linewidth=0.6, zorder=1)
            for place, recipe in enumerate(self.classes.recipes[: len(SERIES)]):
                values = (row.values[place] for row in rows)
                axes.plot(
                    [math.nan if value is None else value for value in values],
                    range(len(rows)),
                    color=SERIES[self.group.recipes.index(recipe) % len(SERIES)],
                    linestyle="",
                    marker="o",
                    markersize=5,
                    fillstyle="none" if place == 0 else "full",  # the baseline is a ring
                    label="\N{ZERO WIDTH SPACE}" + recipe.label,  # a leading _ would hide it
                )
            axes.set_yticks(range(len(rows)), [_shorten(row.name) for row in rows])
            axes.set(ylim=(len(rows) - 0.4, -0.6), xlabel=self.group.measure.in_unit())
            axes.grid(axis="x")
            if legend:
                axes.set_title(f"{self.group.title}: {self.title}", wrap=True)
                figure.legend(loc="outside lower center", fontsize=7, ncols=1)
            return figure

    def svg(self) -> str:
        """Return the picture for a page: without size, in the page's colors, with a description."""
        return page_svg(self.draw(legend=False), self.name, self.title, self.describe())


def _shorten(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"
