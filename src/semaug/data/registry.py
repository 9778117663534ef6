"""The data sets by name."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from semaug._checks import unknown_name
from semaug.data.cifar import load_cifar10, load_cifar100
from semaug.data.digits import load_digits
from semaug.data.image_set import DataSet

__all__ = ["DATA_SETS", "DataSource", "load_data"]


class DataSource(NamedTuple):
    """How a data set is read, and one line for a person who chooses."""

    load: Callable[[Path], DataSet]
    description: str


DATA_SETS: dict[str, DataSource] = {
    "digits": DataSource(
        load_digits, "1,797 handwritten digits of 8 x 8 pixels, from scikit-learn; no download"
    ),
    "cifar10": DataSource(
        load_cifar10, "60,000 photographs of 32 x 32 pixels, 10 classes; files of torchvision"
    ),
    "cifar100": DataSource(
        load_cifar100, "60,000 photographs of 32 x 32 pixels, 100 classes; files of torchvision"
    ),
}


def load_data(
    name: str, root: str | Path | None = None, train_per_class: int | None = None
) -> DataSet:
    """Read a data set whole into memory.

    Args:
        name: One of ``DATA_SETS``.
        root: Folder that holds the files in torchvision's layout. If None, the environment
            variable ``SEMAUG_DATA``, and ``data`` without it. ``"digits"`` has no files.
        train_per_class: Keep only the first so many training images of each class, in
            official order. The test images and the normalization stay those of the whole.

    Returns:
        Training and test images on the CPU.

    Raises:
        TypeError: If ``train_per_class`` is not an int.
        FileNotFoundError: If a file is missing; the message says how to fetch it.
        ValueError: If the name is unknown, a file is damaged, or a class has fewer than
            ``train_per_class`` images.
    """
    if name not in DATA_SETS:
        raise ValueError(unknown_name("load_data", "data set", name, DATA_SETS))
    root = Path(root if root is not None else os.environ.get("SEMAUG_DATA") or "data")
    data = DATA_SETS[name].load(root.expanduser())
    if train_per_class is None:
        return data
    return replace(data, train=data.train.first_of_each_class(train_per_class))
