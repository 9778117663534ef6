"""Choosing the training images of a data set, and corrupting their labels.

:mod:`semaug.data.splits` decides; here the decisions are applied in one order, always the same,
and what came of them is kept, so that a run can record it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from semaug._torch.checks import check_one_of, check_positive_int
from semaug.data import splits
from semaug.data.image_set import DataSet

__all__ = ["Selection", "select"]

# n of the N official training images, C classes.


@dataclass(frozen=True, eq=False)  # tensors have no single truth value to compare by
class Selection:
    """Which images were chosen to train on, and their labels; all tensors on the CPU.

    Args:
        data: Name of the data set.
        classes: Names of the C classes.
        num_official: N, the size of the official training part.
        indices: ``(n,)`` int64, places of the training images in the official part, ascending.
        official_labels: ``(n,)`` int64, their official labels.
        labels: ``(n,)`` int64, the labels to train on.
        held_out: ``(m,)`` int64, places of the images held out, ascending.
        test_on: ``"test"`` or ``"hold_out"``.
        options: What was asked for, the seed included; None is not asked for.
    """

    data: str
    classes: tuple[str, ...]
    num_official: int
    indices: Tensor
    official_labels: Tensor
    labels: Tensor
    held_out: Tensor
    test_on: str
    options: Mapping[str, Any]


def select(
    data: DataSet,
    *,
    train_per_class: int | None = None,
    hold_out: int | None = None,
    imbalance: float | None = None,
    train_percent: float | None = None,
    corrupt_percent: float | None = None,
    seed: int = 0,
    test_on: str | None = None,
) -> tuple[DataSet, Selection]:
    """Choose what to train on, in the order of the arguments, each acting on what is left.

    Args:
        data: A whole data set.
        train_per_class: Keep the first so many images of each class, in official order.
        hold_out: Part so many images from those to train on, in proportion to the classes
            (:func:`~semaug.data.splits.hold_out`).
        imbalance: Thin out the classes exponentially
            (:func:`~semaug.data.splits.long_tailed`).
        train_percent: Keep a share of each class (:func:`~semaug.data.splits.fraction`).
        corrupt_percent: Draw the labels of a share of the images anew
            (:func:`~semaug.data.splits.corrupt_labels`).
        seed: Of all random choices.
        test_on: What becomes the part to be tested on: ``"hold_out"``, the images held out, so
            that nobody chooses options by looking at the test images; or ``"test"``, the
            official one. None is ``"hold_out"`` where images are held out.

    Returns:
        The data set, with the normalization and the class names of the whole one, and what was
        chosen.

    Raises:
        TypeError: If an argument is of another type.
        ValueError: If an argument is out of range, asks for more than there is, or has no
            effect.
    """
    official = data.train.labels.cpu()
    test_on = _choose_test(test_on, hold_out)
    indices = torch.arange(len(official))
    held_out = indices[:0]
    if train_per_class is not None:
        check_positive_int("select", train_per_class=train_per_class)
        _check_class_sizes(train_per_class, official, data.train.classes)
        indices = splits.first_per_class(official, train_per_class)
    if hold_out is not None:
        if hold_out >= len(indices):
            raise ValueError(
                f"select: expected `hold_out` < {len(indices)}, the number of images to train on, "
                f"got {hold_out}"
            )
        kept, parted = splits.hold_out(official[indices], hold_out, seed)
        indices, held_out = indices[kept], indices[parted]
    if imbalance is not None:
        indices = indices[splits.long_tailed(official[indices], imbalance, seed)]
    if train_percent is not None:
        indices = indices[splits.fraction(official[indices], train_percent, seed)]
    labels = official[indices]
    if corrupt_percent is not None:
        labels = splits.corrupt_labels(labels, data.num_classes, corrupt_percent, seed)
    selection = Selection(
        data=data.name,
        classes=data.train.classes,
        num_official=len(official),
        indices=indices,
        official_labels=official[indices],
        labels=labels,
        held_out=held_out,
        test_on=test_on,
        options={
            "train_per_class": train_per_class,
            "hold_out": hold_out,
            "imbalance": imbalance,
            "train_percent": train_percent,
            "corrupt_percent": corrupt_percent,
            "seed": seed,
        },
    )
    return _apply(selection, data), selection


def _apply(selection: Selection, data: DataSet) -> DataSet:
    train, test = data.train, data.test
    if selection.test_on == "hold_out":
        test = train.subset(selection.held_out)
    if len(selection.indices) < len(train):  # else pixels would be copied in vain
        train = train.subset(selection.indices)
    if selection.options["corrupt_percent"] is not None:
        train = train.with_labels(selection.labels)
    return replace(data, train=train, test=test)


def _choose_test(test_on: str | None, hold_out: int | None) -> str:
    if test_on is None:
        return "test" if hold_out is None else "hold_out"
    check_one_of("select", "test_on", test_on, ("test", "hold_out"))
    if test_on == "hold_out" and hold_out is None:
        raise ValueError("select: expected `hold_out` with `test_on` 'hold_out', got None")
    return test_on


def _check_class_sizes(count: int, labels: Tensor, classes: tuple[str, ...]) -> None:
    sizes = torch.bincount(labels, minlength=len(classes))
    fewest = int(sizes.argmin())
    if count > sizes[fewest]:
        raise ValueError(
            f"select: expected `train_per_class` <= {sizes[fewest]}, the number of training "
            f"images of class {classes[fewest]!r}, got {count}"
        )
