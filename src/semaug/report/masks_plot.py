"""Masks as a picture: a row for each image, with its truth, prediction and their difference."""

from dataclasses import dataclass
from typing import ClassVar

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from semaug.report.masks import DIFFERENCES, MaskedImages
from semaug.report.picture import INK, Picture, add_legend, patches_of, shortened

_COLUMNS = "image", "truth", "prediction", "difference"
_INCHES, _HEIGHT = 1.6, 0.95  # of an image; its height with its text, in widths
_LONGEST_NAME = 24  # letters


@dataclass(frozen=True)
class MasksPlot(Picture):
    """Images, truths, predictions and differences side by side, with the colors of the classes.

    Args:
        masks: Of a run.
    """

    masks: MaskedImages
    in_page: ClassVar[bool] = False

    @property
    def size(self) -> tuple[float, float]:
        """Grows with the number of images."""
        return len(_COLUMNS) * _INCHES, (_HEIGHT * len(self.masks.images) + 0.3) * _INCHES

    def describe(self) -> str:
        """Say how much of each image is predicted right."""
        return " ".join(
            f"{one.name}: {one.accuracy:.1f} % of pixels right."
            for one in self.masks.images
            if one.accuracy is not None
        )

    def fill(self, axes: Axes) -> None:
        """Draw the four pictures of each image, and its name below."""
        for column, what in enumerate(_COLUMNS):
            axes.text(column + 0.5, -0.05, what, fontsize=8, ha="center", color=INK)
        for row, one in enumerate(self.masks.images):
            height, width = one.truth.shape[:2]
            share = min(0.96 / width, 0.8 / height)
            top = _HEIGHT * row
            for column, what in enumerate(_COLUMNS):
                if (picture := getattr(one, what)) is not None:
                    box = column + 0.02, column + 0.02 + width * share, top + height * share, top
                    axes.imshow(picture.numpy(), extent=box, interpolation="nearest")
            text = shortened(one.name.rpartition("/")[2], _LONGEST_NAME)
            axes.text(0.02, top + height * share + 0.02, text, fontsize=6, va="top", color=INK)
        axes.set(xlim=(0, len(_COLUMNS)), ylim=(_HEIGHT * len(self.masks.images), -0.2))
        axes.set_aspect("equal")
        axes.set_axis_off()

    def draw(self, *, legend: bool) -> Figure:
        """Draw it, with the colors of classes and of differences below."""
        figure = super().draw(legend=legend)
        if legend:
            add_legend(figure, patches_of({**self.masks.classes, **DIFFERENCES}), columns=4)
        return figure
