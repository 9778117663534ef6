"""Handwritten digits that come with scikit-learn and need no download.

1797 images of 8 x 8 pixels, kept at this size. Their 17 grey levels, 0 to 16, become
0 to 255 and are repeated for three channels. The first 1000 images are for training and
the last 797 for testing: the images lie in the order in which people wrote them, so most
test images come from writers who are not in the training part.

Source: Alpaydin and Kaynak, 1998, https://doi.org/10.24432/C50P49
"""

from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from semaug.data.image_set import DataSet, ImageSet
from semaug.data.source import DataSource
from semaug.errors import how_to_install
from semaug.registry import data_sets

_NUM_TRAIN = 1000

# Of the 1000 training images, on a scale of 0 to 1.
_MEAN = 0.30701875
_STD = 0.37623341


@data_sets.register("digits")
class Digits(DataSource):
    """1,797 handwritten digits of 8 x 8 pixels, from scikit-learn; no download."""

    num_classes: ClassVar[int] = 10
    side: ClassVar[int] = 8
    how_to_get: ClassVar[str] = "it needs no files"

    def load(self, root: Path, workers: int | None = None) -> DataSet:
        """Read the copy inside scikit-learn, whose import would take longer than all the rest.

        Args:
            root: Not read, there is no file.
            workers: Not needed.

        Raises:
            ModuleNotFoundError: If scikit-learn is not installed.
        """
        found = find_spec("sklearn")
        if found is None or found.origin is None:
            raise ModuleNotFoundError(
                "data: 'digits' needs scikit-learn; install it with: " + how_to_install("train"),
                name="sklearn",  # by which the command line knows what to say
            )
        path = Path(found.origin).with_name("datasets") / "data" / "digits.csv.gz"
        rows = torch.from_numpy(np.loadtxt(path, delimiter=","))  # (N, 8 * 8 + 1): pixels, digit
        grey = (rows[:, :-1].view(-1, 1, 8, 8) * (255 / 16)).round().to(torch.uint8)
        images = grey.repeat(1, 3, 1, 1)
        labels = rows[:, -1].to(torch.int64)
        everything = ImageSet(images, labels, tuple(str(digit) for digit in range(10)))
        places = torch.arange(len(images)).tensor_split((_NUM_TRAIN,))
        train, test = map(everything.subset, places)
        return DataSet("digits", train, test, (_MEAN,) * 3, (_STD,) * 3)
