"""The data sets by name."""

import os
from pathlib import Path

from semaug._torch.checks import check_int, check_positive_int
from semaug.data import (  # noqa: F401
    camvid,
    cifar,
    cityscapes,
    digits,
    folder,
    imagenet,
    masks,
    shards,
    svhn,
    tiny_imagenet,
)
from semaug.data.image_set import DataSet
from semaug.data.selection import select
from semaug.registry import data_sets


def load_data(
    name: str,
    root: str | Path | None = None,
    train_per_class: int | None = None,
    *,
    workers: int | None = None,
) -> DataSet:
    """Read a data set: whole into memory, or the names of its files where it is large.

    Args:
        name: As ``data=`` of a recipe, see ``semaug list data``.
        root: Folder that holds the files, see ``docs/data.md``. If None, the environment
            variable ``SEMAUG_DATA``, and ``data`` without it. ``"digits"`` has no files.
        train_per_class: Keep only the first so many training images of each class, in
            official order; :func:`~semaug.data.select` chooses in other ways. The test images
            and the normalization stay those of the whole.
        workers: Processes that decode while the set is read; 0 decodes in this one, and None
            chooses. Only ``"tiny_imagenet"`` decodes then; others pass it over.

    Returns:
        Training and test images on the CPU.

    Raises:
        TypeError: If ``train_per_class`` or ``workers`` is not an int.
        LoadError: If a process was killed.
        ModuleNotFoundError: If a package of the extra ``train`` is missing that the set needs.
        FileNotFoundError: If a file is missing; the message says how to fetch it.
        ValueError: If the name is unknown or that of images with objects, a file is damaged,
            ``train_per_class`` is below 1, a class has fewer images, or ``workers`` is below 0.
    """
    source = data_sets.make(name)
    if workers is not None:
        check_int("load_data", "workers", workers, 0)
    if train_per_class is not None:
        check_positive_int("load_data", train_per_class=train_per_class)
    data = source.load(data_root(root), workers)
    if not isinstance(data, DataSet):
        raise ValueError(
            f"load_data: expected a set of images with labels or masks, got {name!r} with a "
            f"{type(data).__name__}; read it with data_sets.make({name!r}).load(root)"
        )
    return select(data, train_per_class=train_per_class)[0]


def data_root(root: str | Path | None = None) -> Path:
    """Return the folder of the data sets: ``root``, else ``SEMAUG_DATA``, else ``data``."""
    return Path(os.environ.get("SEMAUG_DATA") or "data" if root is None else root).expanduser()
