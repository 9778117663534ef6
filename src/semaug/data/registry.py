"""The data sets by name."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch

from semaug._checks import check_positive_int
from semaug._names import unknown_name
from semaug.data.cifar import load_cifar10, load_cifar100
from semaug.data.digits import load_digits
from semaug.data.image_set import DataSet, ImageSet

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
        ModuleNotFoundError: If ``"digits"`` is asked for and scikit-learn is not installed.
        FileNotFoundError: If a file is missing; the message says how to fetch it.
        ValueError: If the name is unknown, a file is damaged, ``train_per_class`` is below 1,
            or a class has fewer images.
    """
    if name not in DATA_SETS:
        raise ValueError(unknown_name("load_data", "data set", name, DATA_SETS))
    if train_per_class is not None:
        check_positive_int("load_data", train_per_class=train_per_class)
    root = Path(root if root is not None else os.environ.get("SEMAUG_DATA") or "data")
    data = DATA_SETS[name].load(root.expanduser())
    if train_per_class is None:
        return data
    return replace(data, train=_first_of_each_class(data.train, train_per_class))


def _first_of_each_class(images: ImageSet, count: int) -> ImageSet:
    """Keep ``count`` images of each class, in the order in which they stand."""
    kept = []
    for label, name in enumerate(images.classes):
        found = (images.labels == label).nonzero().squeeze(1)
        if len(found) < count:
            raise ValueError(
                f"load_data: expected `train_per_class` <= {len(found)}, the number of training "
                f"images of class {name!r}, got {count}"
            )
        kept.append(found[:count])
    return images.subset(torch.cat(kept).sort().values)
