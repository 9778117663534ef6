"""Curves as pictures: for a page that has two themes, and as files of their own."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from semaug.report.class_plot import ClassPlot
from semaug.report.classes import values_by_class
from semaug.report.data import Group, Point, Report, curve
from semaug.report.svg import SERIES, page_svg, save_figure, settings
from semaug.runs.read import label_of, row_name

_DASHES = ((), (5, 2), (2, 1.5), (6, 2, 1, 2))
_MOST_POINTS = 500  # of a curve: more are finer than a screen, and make the page heavy
_MOST_ON_LINEAR_AXIS = 10.0  # largest to lowest error; beyond, a logarithm shows both ends
_NOT_DRAWN = ("epoch", "step", "seconds")
_NAMES = {
    "lr": "learning rate",
    "strength": "strength λ",
    "train_loss": "training loss",
    "images_per_second": "images/s",
    "peak_memory_mib": "peak memory in MiB",
}
# Where pictures of columns stand; all others are between.
_RANKS = {"lr": -3, "strength": -2, "train_loss": -1, "images_per_second": 1, "peak_memory_mib": 2}


@dataclass(frozen=True)
class Plot:
    """A picture of one column, or of the main metric, of a group.

    Args:
        name: Unique in a report; names its files.
        title: What it shows.
        group: Whose runs.
        columns: What is drawn; of two, the second is dotted.
    """

    name: str
    title: str
    group: Group
    columns: tuple[str, ...]

    @property
    def is_wide(self) -> bool:
        """Whether it is the picture of the main metric."""
        return self.columns[0] in self.group.main_columns

    def describe(self) -> str:
        """Say in words where each curve begins and ends."""
        return " ".join(
            f"{recipe.label}, {column}: {points[0].mean:.4g} at epoch {points[0].epoch:g}, "
            f"{points[-1].mean:.4g} at epoch {points[-1].epoch:g}."
            for recipe in self.group.recipes
            for column in self.columns
            if (points := curve(recipe.runs, column))
        )

    def draw(self, *, legend: bool) -> Figure:
        """Draw it: mean over runs, and a band from lowest to highest."""
        with matplotlib.rc_context(settings(self.name)):
            figure = Figure((5.2, 3.4) if self.is_wide else (4.2, 2.6), layout="constrained")
            axes = figure.subplots()
            values = [value for ends in self._draw_curves(axes) for value in ends]
            measure = self.group.measure
            spreads = max(values) > _MOST_ON_LINEAR_AXIS * min(values) > 0
            if self.is_wide and measure.better == "lower" and spreads:
                axes.set_yscale("log")
                axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
                axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
                axes.yaxis.set_minor_formatter(NullFormatter())
            axes.set_xlabel("epoch")
            if self.is_wide:
                axes.set_ylabel(f"{measure.in_unit()} {'↓' if measure.better == 'lower' else '↑'}")
            axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
            axes.grid(which="major")
            if legend:
                axes.set_title(f"{self.group.title}: {self.title}", wrap=True)
                figure.legend(loc="outside lower center", fontsize=7, ncols=1)
            return figure

    def svg(self) -> str:
        """Return the picture for a page: without size, in the page's colors, with a description."""
        return page_svg(self.draw(legend=False), self.name, self.title, self.describe())

    def _draw_curves(self, axes: Axes) -> Iterator[tuple[float, float]]:
        """Draw, and return the lowest and the highest value of each curve."""
        for place, recipe in enumerate(self.group.recipes):
            color, dashes = series(place, wide=self.is_wide)
            for column in self.columns:
                if not (points := _thin(curve(recipe.runs, column))):
                    continue
                is_training = self.is_wide and column == self.group.main_columns[1]
                label = label_of(recipe.label, _title(column, self.group) if self.is_wide else "")
                epochs = [point.epoch for point in points]
                lows, highs = [point.low for point in points], [point.high for point in points]
                axes.plot(
                    epochs,
                    [point.mean for point in points],
                    color=SERIES[color],
                    linestyle=":" if is_training else (0, dashes) if dashes else "-",
                    marker="o" if len(points) == 1 else "",  # a line of one point is invisible
                    label="\N{ZERO WIDTH SPACE}" + label,  # a leading _ would hide it
                )
                if not is_training:
                    axes.fill_between(
                        epochs, lows, highs, color=SERIES[color], alpha=0.18, linewidth=0
                    )
                yield min(lows), max(highs)


def series(place: int, *, wide: bool) -> tuple[int, tuple[float, ...]]:
    """Return which color the recipe at a place has, and the dashes of its line; none is solid.

    Small pictures alternate dashes, so that curves that lie on each other all show. In the
    picture of the main metric dashes come only after the last color.

    >>> series(1, wide=True), series(1, wide=False)
    ((1, ()), (1, (5, 2)))
    """
    round = place // len(SERIES)
    return place % len(SERIES), _DASHES[(round if wide else place + round) % len(_DASHES)]


def plots_of(report: Report) -> list[list[Plot | ClassPlot]]:
    """Return the pictures of each group, those of the main metric first, by epoch and by class."""
    taken: set[str] = set()
    return [[*_plots_of_group(group, taken)] for group in report.groups]


def export_plots(report: Report, folder: Path) -> list[Path]:
    """Write each picture as PNG and as SVG, with a legend, on white.

    Returns:
        The files.

    Raises:
        OSError: If the disk does not take them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = {
        folder / f"{plot.name}.{format}": plot
        for plots in plots_of(report)
        for plot in plots
        for format in ("png", "svg")
    }
    for path, plot in files.items():
        save_figure(plot.draw(legend=True), path, plot.name)
    return [*files]


def _plots_of_group(group: Group, taken: set[str]) -> Iterator[Plot | ClassPlot]:
    if main := main_plot(_unique(group.title, group.measure.name, taken), group):
        yield main
    if classes := values_by_class(group):
        yield ClassPlot(_unique(group.title, "classes", taken), group, classes)
    for column in sorted(group.columns(), key=lambda column: _RANKS.get(column, 0)):
        if column not in (*_NOT_DRAWN, *group.main_columns):
            name = _unique(group.title, column, taken)
            yield Plot(name, _title(column, group), group, (column,))


def main_plot(name: str, group: Group) -> Plot | None:
    """Return the picture of the main metric; None if it was not written down yet.

    Args:
        name: Of the picture.
        group: Of many recipes the training images are left out: their dashes tell recipes apart.
    """
    columns = tuple(column for column in group.main_columns if column in group.columns())
    if len(group.recipes) > len(SERIES):
        columns = columns[:1]
    title = " and ".join(_title(column, group) for column in columns)
    return Plot(name, title, group, columns) if columns else None


def _title(column: str, group: Group) -> str:
    name = group.measure.name
    tested = {row_name(name, one): label_of(group.measured, one) for one in group.predictors}
    return {**_NAMES, **tested, f"train_{name}": f"training {name}"}.get(column, column)


def _unique(group: str, column: str, taken: set[str]) -> str:
    """Make a name for a file and an id: letters, digits, dots and dashes."""
    name = re.sub(r"[^A-Za-z0-9.]+", "-", f"{group}-{column}").strip("-")[:100] or "plot"
    numbered = (f"plot-{name}-{place}" for place in count(2))
    # Some disks do not tell A from a.
    chosen = next(x for x in chain([f"plot-{name}"], numbered) if x.lower() not in taken)
    taken.add(chosen.lower())
    return chosen


def _thin(points: list[Point]) -> list[Point]:
    """Return evenly spread points, the last among them, if there are too many."""
    step = math.ceil(len(points) / _MOST_POINTS) if points else 1
    return points[::-step][::-1]
