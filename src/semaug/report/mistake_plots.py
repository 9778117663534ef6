"""What is predicted wrongly, as pictures: confusion matrices, and images with their labels."""

import math
from dataclasses import dataclass
from typing import ClassVar

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from semaug.report.mistakes import Mistakes, ShownImage
from semaug.report.picture import INK, SERIES, Picture, shortened

_INCHES_A_CLASS, _INCHES_OF_NAMES = 0.3, 1.7
_LONGEST_NAME = 18  # letters, at the sides of the matrix and below images
_COLUMNS, _INCHES_AN_IMAGE = 6, 1.15
_HEIGHT = 1.5  # of an image with its text, in widths
_OPACITY = 0.75  # of a cell that holds all images of its class


@dataclass(frozen=True)
class ConfusionPlot(Picture):
    """A confusion matrix: a row for each class, a column for each prediction.

    Args:
        mistakes: Of one recipe, of at most 30 classes.
    """

    mistakes: Mistakes

    @property
    def size(self) -> tuple[float, float]:
        """Grows with the number of classes."""
        side = _INCHES_A_CLASS * len(self.mistakes.classes) + _INCHES_OF_NAMES
        return side, side

    def describe(self) -> str:
        """Say in words which classes are confused most often."""
        return " ".join(
            f"{pair.label} predicted as {pair.prediction}: {pair.count}."
            for pair in self.mistakes.confused()
        )

    def fill(self, axes: Axes) -> None:
        """Draw a cell for each pair that occurs, as opaque as its share of the class is large."""
        confusion = self.mistakes.confusion
        shares = (confusion / confusion.sum(1, keepdim=True).clamp(min=1)).tolist()
        for row, column in confusion.nonzero().tolist():
            axes.add_patch(
                Rectangle(
                    (column - 0.5, row - 0.5),
                    1,
                    1,
                    facecolor=SERIES[2 if row == column else 1],
                    alpha=_OPACITY * shares[row][column] ** 0.5,  # few are to be seen too
                    linewidth=0,
                )
            )
            number = str(int(confusion[row, column]))
            size = 8 if len(number) < 4 else 32 / (len(number) + 1)
            axes.text(column, row, number, ha="center", va="center", fontsize=size, color=INK)
        names = [shortened(name, _LONGEST_NAME) for name in self.mistakes.classes]
        axes.set_xticks(range(len(names)), names, rotation=90, fontsize=8)
        axes.set_yticks(range(len(names)), names, fontsize=8)
        axes.set(xlabel="predicted", ylabel="label", aspect="equal")
        axes.set(xlim=(-0.5, len(names) - 0.5), ylim=(len(names) - 0.5, -0.5))
        axes.tick_params(length=0)


@dataclass(frozen=True)
class ImagesPlot(Picture):
    """Test images side by side, each with its name, label, prediction and probabilities.

    Args:
        images: At least one.
    """

    images: tuple[ShownImage, ...]
    in_page: ClassVar[bool] = False

    @property
    def size(self) -> tuple[float, float]:
        """Grows with the number of images."""
        rows = math.ceil(len(self.images) / _COLUMNS)
        return _COLUMNS * _INCHES_AN_IMAGE, _HEIGHT * rows * _INCHES_AN_IMAGE

    def describe(self) -> str:
        """Say what is predicted of each image."""
        return " ".join(
            f"{one.name}: {one.label} predicted as {one.prediction}." for one in self.images
        )

    def fill(self, axes: Axes) -> None:
        """Draw the images, and their texts below them."""
        rows = math.ceil(len(self.images) / _COLUMNS)
        for place, image in enumerate(self.images):
            row, left = divmod(place, _COLUMNS)
            top = _HEIGHT * row
            box = left + 0.05, left + 0.95, top + 0.95, top + 0.05
            if image.picture is not None:
                axes.imshow(image.picture.numpy(), extent=box, interpolation="nearest")
            lines = (
                image.name.rpartition("/")[2],
                f"{image.label_prob:.2f} {image.label}",
                f"\N{RIGHTWARDS ARROW} {image.prediction_prob:.2f} {image.prediction}",
            )
            text = "\n".join(shortened(line, _LONGEST_NAME) for line in lines)
            axes.text(left + 0.05, top + 1, text, fontsize=6, va="top", color=INK)
        axes.set(xlim=(0, _COLUMNS), ylim=(_HEIGHT * rows, 0), aspect="equal")
        axes.set_axis_off()
