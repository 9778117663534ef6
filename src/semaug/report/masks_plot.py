"""Test images as a picture: a row for each, with its truth and its prediction."""

from dataclasses import dataclass
from typing import ClassVar

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from semaug.report.masks import PicturedImages
from semaug.report.picture import INK, Picture, add_legend, patches_of, shortened

_INCHES, _HEIGHT = 1.6, 0.95  # of an image; its height with its text, in widths
_LONGEST_NAME = 24  # letters


@dataclass(frozen=True)
class MasksPlot(Picture):
    """Images, truths and predictions side by side, with the colors of the classes.

    Args:
        masks: Of a run.
    """

    masks: PicturedImages
    in_page: ClassVar[bool] = False

    @property
    def size(self) -> tuple[float, float]:
        """Grows with the number of images."""
        return len(self.masks.columns) * _INCHES, (_HEIGHT * len(self.masks.images) + 0.3) * _INCHES

    def describe(self) -> str:
        """Say what is known of each image."""
        return " ".join(f"{one.name}: {one.note}." for one in self.masks.images if one.note)

    def fill(self, axes: Axes) -> None:
        """Draw the pictures of each image, and its name below."""
        columns = self.masks.columns
        for column, what in enumerate(columns):
            axes.text(column + 0.5, -0.05, what, fontsize=8, ha="center", color=INK)
        for row, one in enumerate(self.masks.images):
            height, width = next(iter(one.pictures.values())).shape[:2]
            share = min(0.96 / width, 0.8 / height)
            top = _HEIGHT * row
            for column, what in enumerate(columns):
                if (picture := one.pictures.get(what)) is not None:
                    box = column + 0.02, column + 0.02 + width * share, top + height * share, top
                    axes.imshow(picture.numpy(), extent=box, interpolation="nearest")
            text = shortened(one.name.rpartition("/")[2], _LONGEST_NAME)
            axes.text(0.02, top + height * share + 0.02, text, fontsize=6, va="top", color=INK)
        axes.set(xlim=(0, len(columns)), ylim=(_HEIGHT * len(self.masks.images), -0.2))
        axes.set_aspect("equal")
        axes.set_axis_off()

    def draw(self, *, legend: bool) -> Figure:
        """Draw it, with the meaning of colors below."""
        figure = super().draw(legend=legend)
        if legend:
            meanings = {name: x for legend in self.masks.legends for name, x in legend.items()}
            add_legend(figure, patches_of(meanings), columns=4)
        return figure
