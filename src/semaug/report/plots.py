"""Curves as pictures: for a page that has two themes, and as files of their own."""

import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import chain, count
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from semaug.report.class_plot import ClassPlot
from semaug.report.classes import values_by_class
from semaug.report.data import Group, Point, Report, curve
from semaug.report.masks_plot import MasksPlot
from semaug.report.mistake_plots import ConfusionPlot, ImagesPlot
from semaug.report.mistakes import MOST_CLASSES
from semaug.report.picture import SERIES, Picture, export, page_svg, wrapped
from semaug.runs.read import label_of, row_name

_DASHES = ((), (5, 2), (2, 1.5), (6, 2, 1, 2))
_MOST_POINTS = 500  # of a curve: more are finer than a screen, and make the page heavy
_MOST_ON_LINEAR_AXIS = 10.0  # largest to lowest error; beyond, a logarithm shows both ends
_SEEN = 0.25  # of a logarithmic axis for the other runs, else one that goes far is cut
_FARTHEST = 20.0  # that a run may go beyond the middle one, in ranges of the latter
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
class Plot(Picture):
    """A picture of one column, or of the main metric: mean over runs, band from lowest to highest.

    Args:
        columns: What is drawn; of two, the second is dotted.
    """

    columns: tuple[str, ...]

    @property
    def is_wide(self) -> bool:
        """Whether it is the picture of the main metric."""
        return self.columns[0] in self.group.main_columns

    @property
    def size(self) -> tuple[float, float]:
        """Inches; the main metric has more of them."""
        return (5.2, 3.4) if self.is_wide else (4.2, 2.6)

    def describe(self) -> str:
        """Say in words where each curve begins and ends, and which curves are cut."""
        ends = [
            f"{recipe.label}, {column}: {points[0].mean:.4g} at epoch {points[0].epoch:g}, "
            f"{points[-1].mean:.4g} at epoch {points[-1].epoch:g}."
            for recipe in self.group.recipes
            for column in self.columns
            if (points := curve(recipe.runs, column))
        ]
        return " ".join([*ends, *(f"{text}." for text in self._choose_axis()[2])])

    def svg(self) -> str:
        """Return the picture for a page, with what the page shows under the pointer."""
        figure = self.draw(legend=False)
        text = page_svg(figure, self.name, self.title, self.describe())
        axes: Any = figure.axes[0]  # drawn, so its place holds
        curves = [
            [line.get_label(), [[x, float(f"{y:.4g}")] for x, y in line.get_xydata().tolist()]]
            for line in axes.get_lines()
        ]
        box = axes.get_position()
        shown = {"left": box.x0, "right": box.x1, "ends": axes.get_xlim(), "curves": curves}
        return text.replace("<svg ", f'<svg data-curves="{escape(json.dumps(shown))}" ', 1)

    def fill(self, axes: Axes) -> None:
        """Draw the curves."""
        for place, recipe in enumerate(self.group.recipes):
            color, dashes = series(place, wide=self.is_wide)
            for column in self.columns:
                if not (points := _thin_out(curve(recipe.runs, column))):
                    continue
                is_training = self.is_wide and column == self.group.main_columns[1]
                epochs, means, lows, highs = zip(*points, strict=True)
                axes.plot(
                    epochs,
                    means,
                    color=SERIES[color],
                    linestyle=":" if is_training else (0, dashes) if dashes else "-",
                    marker="o" if len(points) == 1 else "",  # a line of one point is invisible
                    label=label_of(
                        recipe.label, _title(column, self.group) if self.is_wide else ""
                    ),
                )
                if not is_training:
                    axes.fill_between(
                        epochs, lows, highs, color=SERIES[color], alpha=0.18, linewidth=0
                    )
        has_logarithm, (low, high), cut = self._choose_axis()
        if has_logarithm:
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.yaxis.set_minor_formatter(NullFormatter())
        if cut:
            axes.set_ylim(low - 0.05 * (high - low), high + 0.05 * (high - low))
        letters = int(10 * self.size[0])
        axes.set_xlabel("\n".join(["epoch", *(wrapped(text, letters) for text in cut)]))
        if self.is_wide:
            measure = self.group.measure
            axes.set_ylabel(f"{measure.in_unit()} {'↓' if measure.better == 'lower' else '↑'}")
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.grid(which="major")

    def _choose_axis(self) -> tuple[bool, tuple[float, float], list[str]]:
        """Return whether the axis is logarithmic, its ends, and what is cut there."""
        ranges = [
            (min(values), max(values), recipe.label)
            for recipe in self.group.recipes
            for run in recipe.runs
            for column in self.columns
            if (values := [row[column] for row in run.rows if column in row])
        ]
        lowest, highest = min(ranges)[0], max(high for _, high, _ in ranges)
        is_error = self.is_wide and self.group.measure.better == "lower"
        if is_error and highest > _MOST_ON_LINEAR_AXIS * lowest > 0:
            return True, (lowest, highest), []
        low, high = axis_ends([(low, high) for low, high, _ in ranges])
        is_cut = (low, high) != (lowest, highest) and lowest > 0
        if is_cut and math.log(high / low) > _SEEN * math.log(highest / lowest):
            return True, (lowest, highest), []
        outside = {name: (a, b) for a, b, name in ranges if a < low or b > high}
        return (
            False,
            (low, high),
            [
                f"cut: {name}, which goes to {b if b > high else a:.3g}"
                for name, (a, b) in outside.items()
            ],
        )


def axis_ends(ranges: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return the ends of an axis without runs that would flatten all others.

    A run is left out that goes beyond the run of the middle range by more than 20 times that range.

    Args:
        ranges: Lowest and highest value of each run.

    >>> axis_ends([(0.1, 2.3), (0.2, 2.4), (0.3, 1e6)])
    (0.1, 2.4)
    """
    low, high = sorted(ranges, key=lambda ends: ends[1] - ends[0])[(len(ranges) - 1) // 2]
    room = _FARTHEST * (high - low) or math.inf  # constants are flat anyway
    kept = [(a, b) for a, b in ranges if a >= low - room and b <= high + room]
    return min(a for a, _ in kept), max(b for _, b in kept)


def series(place: int, *, wide: bool) -> tuple[int, tuple[float, ...]]:
    """Return which color the recipe at a place has, and the dashes of its line; none is solid.

    Small pictures alternate dashes, so that curves that lie on each other all show. In the
    picture of the main metric dashes come only after the last color.

    >>> series(1, wide=True), series(1, wide=False)
    ((1, ()), (1, (5, 2)))
    """
    round = place // len(SERIES)
    return place % len(SERIES), _DASHES[(round if wide else place + round) % len(_DASHES)]


def plots_of(report: Report) -> list[list[Picture]]:
    """Return the pictures of each group, those of the main metric first, by epoch and by class."""
    taken: set[str] = set()
    return [[*_plots_of_group(group, taken)] for group in report.groups]


def export_plots(report: Report, folder: Path) -> list[Path]:
    """Write each picture with a legend, see :func:`semaug.report.picture.export`."""
    plots = (plot for plots in plots_of(report) for plot in plots)
    return export(((plot.name, plot.draw(legend=True)) for plot in plots), folder)


def _plots_of_group(group: Group, taken: set[str]) -> Iterator[Picture]:
    if main := main_plot(_make_name_unique(group.title, group.measure.name, taken), group):
        yield main
    if classes := values_by_class(group):
        name, title = _make_name_unique(group.title, "classes", taken), f"{group.measured} by class"
        yield ClassPlot(name, title, group, classes)
    yield from _plots_of_mistakes(group, taken)
    for column in sorted(group.columns(), key=lambda column: _RANKS.get(column, 0)):
        if column not in (*_NOT_DRAWN, *group.main_columns):
            name = _make_name_unique(group.title, column, taken)
            yield Plot(name, _title(column, group), group, (column,))


def _plots_of_mistakes(group: Group, taken: set[str]) -> Iterator[Picture]:
    for recipe in group.recipes:
        if found := recipe.masks:
            what = found[1].title.lower()
            name_of_masks = _make_name_unique(group.title, f"{what}-{recipe.label}", taken)
            title = f"{what} of {recipe.label}, seed {found[0]}"
            yield MasksPlot(name_of_masks, title, group, found[1])
        if (mistakes := recipe.mistakes) is None:
            continue

        def name(what: str, label: str = recipe.label) -> str:
            return _make_name_unique(group.title, f"{what}-{label}", taken)

        if len(mistakes.classes) <= MOST_CLASSES:
            title = f"confusion matrix of {recipe.label}"
            yield ConfusionPlot(name("confusion"), title, group, mistakes)
        for what, images in (("doubtful labels", mistakes.doubtful), ("worst", mistakes.worst)):
            if images:
                title = f"{what} of {recipe.label}"
                yield ImagesPlot(name(what), title, group, images)


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
    others = {
        row_name(other.name, one): label_of(other.heading(group.name_of(other)), one)
        for other in group.others
        for one in group.predictors
    }
    return {**_NAMES, **tested, **others, f"train_{name}": f"training {name}"}.get(column, column)


def _make_name_unique(group: str, column: str, taken: set[str]) -> str:
    """Make a name for a file and an id: letters, digits, dots and dashes."""
    name = re.sub(r"[^A-Za-z0-9.]+", "-", f"{group}-{column}").strip("-")[:100] or "plot"
    numbered = (f"plot-{name}-{place}" for place in count(2))
    # Some disks do not tell A from a.
    chosen = next(x for x in chain([f"plot-{name}"], numbered) if x.lower() not in taken)
    taken.add(chosen.lower())
    return chosen


def _thin_out(points: list[Point]) -> list[Point]:
    """Return evenly spread points, the last among them, if there are too many."""
    step = math.ceil(len(points) / _MOST_POINTS) if points else 1
    return points[::-step][::-1]
