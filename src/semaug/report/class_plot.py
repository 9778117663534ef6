"""Values of classes as a picture: a line for each class, a dot on it for each recipe."""

import math
from dataclasses import dataclass

from matplotlib.axes import Axes

from semaug.report.classes import ClassValues
from semaug.report.picture import INK, SERIES, Picture, shortened

_LONGEST_NAME = 28  # letters; longer ones would leave no room for the dots


@dataclass(frozen=True)
class ClassPlot(Picture):
    """A picture of the main metric of each class of a group.

    Args:
        classes: What is drawn: of many classes those at both ends, of many recipes the first.
    """

    classes: ClassValues

    @property
    def size(self) -> tuple[float, float]:
        """As high as there are classes."""
        return 5.2, 0.8 + 0.2 * len(self.classes.ends())

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

    def fill(self, axes: Axes) -> None:
        """Draw the dots, the class that changes most for the better at the top."""
        rows, recipes = self.classes.ends(), self.classes.recipes[: len(SERIES)]
        for height, row in enumerate(rows):
            if known := [value for value in row.values[: len(SERIES)] if value is not None]:
                axes.hlines(height, min(known), max(known), color=INK, linewidth=0.6, zorder=1)
        for place, recipe in enumerate(recipes):
            values = (row.values[place] for row in rows)
            axes.plot(
                [math.nan if value is None else value for value in values],
                range(len(rows)),
                color=SERIES[self.group.recipes.index(recipe) % len(SERIES)],
                linestyle="",
                marker="o",
                markersize=5,
                fillstyle="none" if place == 0 else "full",  # the baseline is a ring
                label=recipe.label,
            )
        axes.set_yticks(range(len(rows)), [shortened(row.name, _LONGEST_NAME) for row in rows])
        axes.set(ylim=(len(rows) - 0.4, -0.6), xlabel=self.group.measure.in_unit())
        axes.grid(axis="x")
