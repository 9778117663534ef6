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
from semaug.data.image_set import DataSet, FileSet, ImageSet

# n of the N official training images, C classes.


@dataclass(frozen=True, eq=False)  # tensors have no single truth value to compare by
class Selection:
    """Which images were chosen to train on, and their labels; all tensors on the CPU.

    Args:
        data: Name of the data set.
        classes: Names of the C classes.
        num_official: N, the size of the official training part.
        indices: ``(n,)`` int64, places of the labeled training images in the official part,
            ascending.
        official_labels: ``(n,)`` int64, their official labels; ``(0,)`` if these are masks.
        labels: ``(n,)`` int64, the labels to train on; masks always are the official ones.
        held_out: ``(m,)`` int64, places of the images held out or of the fold, ascending.
        unlabeled: ``(u,)`` int64, places of the images to learn from without labels, ascending.
        test_on: ``"test"``, ``"hold_out"`` or ``"none"``.
        options: What was asked for, the seed included; None is not asked for.
    """

    data: str
    classes: tuple[str, ...]
    num_official: int
    indices: Tensor
    official_labels: Tensor
    labels: Tensor
    held_out: Tensor
    unlabeled: Tensor
    test_on: str
    options: Mapping[str, Any]


def select(
    data: DataSet,
    *,
    train_per_class: int | None = None,
    hold_out: int | None = None,
    folds: int | None = None,
    fold: int = 0,
    groups: Tensor | None = None,
    imbalance: float | None = None,
    train_percent: float | None = None,
    labeled_per_class: int | None = None,
    unlabeled_includes_labeled: bool = True,
    hold_out_labeled: bool = False,
    corrupt_percent: float | None = None,
    seed: int = 0,
    test_on: str | None = None,
) -> tuple[DataSet, Selection]:
    """Choose what to train on, in the order of the arguments, each acting on what is left.

    Images with masks have no class: ``hold_out``, ``folds`` and ``train_percent`` draw from all of
    them, and what goes by the label of an image is refused.

    Args:
        data: A whole data set.
        train_per_class: Keep the first so many images of each class, in official order.
        hold_out: Part so many images from those to train on, in proportion to the classes
            (:func:`~semaug.data.splits.hold_out`).
        folds: Part the images to train on into so many folds, and test on one of them
            (:func:`~semaug.data.splits.folds`).
        fold: Which one, from 0.
        groups: ``(N,)`` int64, the same number for official training images that stay in one fold
            or are held out together, such as near duplicates; None is each for itself.
        imbalance: Thin out the classes exponentially
            (:func:`~semaug.data.splits.long_tailed`).
        train_percent: Keep a share of each class (:func:`~semaug.data.splits.fraction`).
        labeled_per_class: Train on so many labeled images of each class, drawn at random; all
            images there are up to here become the unlabeled part
            (:func:`~semaug.data.splits.labeled_subset`).
        unlabeled_includes_labeled: Whether these are among the unlabeled ones; else the unlabeled
            part is all others.
        hold_out_labeled: Whether ``hold_out`` parts images from these, after they were drawn, and
            from the unlabeled ones too.
        corrupt_percent: Draw the labels of a share of the images anew
            (:func:`~semaug.data.splits.corrupt_labels`).
        seed: Of all random choices.
        test_on: What becomes the part to be tested on: ``"hold_out"``, the images held out (or the
            fold), so that nobody chooses options by looking at the test images; ``"test"``, the
            official one; or ``"none"``. None is ``"hold_out"`` where images are held out or parted
            into folds, and else ``"test"``.

    Returns:
        The data set, with the normalization and the class names of the whole one, and what was
        chosen.

    Raises:
        TypeError: If an argument is of another type.
        ValueError: If an argument is out of range, asks for more than there is, or has no
            effect, or goes by the label of an image where there are masks.
    """
    options = {
        "train_per_class": train_per_class,
        "hold_out": hold_out,
        "imbalance": imbalance,
        "train_percent": train_percent,
        "labeled_per_class": labeled_per_class,
        "corrupt_percent": corrupt_percent,
        "seed": seed,
    }
    if folds is not None:
        options |= {"folds": folds, "fold": fold}
    for_labeled = {
        name: value
        for name, value, default in (
            ("unlabeled_includes_labeled", unlabeled_includes_labeled, True),
            ("hold_out_labeled", hold_out_labeled, False),
        )
        if value != default
    }
    if for_labeled and labeled_per_class is None:
        name = next(iter(for_labeled))
        raise ValueError(f"select: `{name}` has no effect without `labeled_per_class`")
    options |= for_labeled
    if data.has_masks:
        _check_goes_without_classes(data.name, options)
    one_class = torch.zeros(len(data.train), dtype=torch.int64)
    official = one_class if data.has_masks else data.train.labels.cpu()
    test_on = _choose_test(test_on, hold_out, folds)
    indices = torch.arange(len(official))
    held_out = unlabeled = indices[:0]
    if train_per_class is not None:
        _check_class_sizes("train_per_class", train_per_class, official, data.train.classes)
        indices = splits.first_per_class(official, train_per_class)
    if hold_out is not None and not hold_out_labeled:
        indices, held_out = _hold_out(indices, official, hold_out, seed, groups)
    if folds is not None:
        indices, held_out = _hold_out_fold(indices, official, folds, fold, seed, groups)
    if imbalance is not None:
        indices = indices[splits.long_tailed(official[indices], imbalance, seed)]
    if train_percent is not None:
        indices = indices[splits.fraction(official[indices], train_percent, seed)]
    if labeled_per_class is not None:
        labeled, others = _draw_labeled(data, indices, official, labeled_per_class, seed)
        unlabeled = indices if unlabeled_includes_labeled else others
        indices = labeled
        if hold_out is not None and hold_out_labeled:
            indices, held_out = _hold_out(indices, official, hold_out, seed, groups)
            unlabeled = unlabeled[~torch.isin(unlabeled, held_out)]
    labels = official = official[:0] if data.has_masks else official[indices]
    if corrupt_percent is not None:
        labels = splits.corrupt_labels(labels, data.num_classes, corrupt_percent, seed)
    selection = Selection(
        data=data.name,
        classes=data.train.classes,
        num_official=len(data.train),
        indices=indices,
        official_labels=official,
        labels=labels,
        held_out=held_out,
        unlabeled=unlabeled,
        test_on=test_on,
        options=options,
    )
    return _apply_selection(selection, data), selection


def _hold_out(
    indices: Tensor, official: Tensor, count: int, seed: int, groups: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return the places that are kept, and those held out."""
    if count >= len(indices):
        raise ValueError(
            f"select: expected `hold_out` < {len(indices)}, the number of images to train on, "
            f"got {count}"
        )
    together = None if groups is None else groups[indices]
    kept, parted = splits.hold_out(official[indices], count, seed, together)
    return indices[kept], indices[parted]


def _hold_out_fold(
    indices: Tensor, official: Tensor, num_folds: int, fold: int, seed: int, groups: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return the images of all other folds, and those of one."""
    if fold not in range(num_folds):
        raise ValueError(f"select: expected `fold` from 0 to {num_folds - 1}, got {fold}")
    together = None if groups is None else groups[indices]
    is_held_out = splits.folds(official[indices], num_folds, seed, together) == fold
    return indices[~is_held_out], indices[is_held_out]


def _draw_labeled(
    data: DataSet, indices: Tensor, official: Tensor, labeled_per_class: int, seed: int
) -> tuple[Tensor, Tensor]:
    """Return images of which as many of each class are labeled, and all others."""
    if data.unlabeled is not None:
        raise ValueError(
            f"select: expected no `labeled_per_class` for {data.name!r}, which has unlabeled "
            f"images of its own, got {labeled_per_class}"
        )
    labels = official[indices]
    _check_class_sizes("labeled_per_class", labeled_per_class, labels, data.train.classes)
    labeled, others = splits.labeled_subset(labels, labeled_per_class * data.num_classes, seed)
    return indices[labeled], indices[others]


def _apply_selection(selection: Selection, data: DataSet) -> DataSet:
    holds_out, options = selection.test_on == "hold_out", selection.options
    parts_labels = options["labeled_per_class"] is not None
    train, test = _take_part(data.train, selection.indices), data.test
    if selection.test_on == "none":
        test = test.subset(selection.indices[:0])
    if options["corrupt_percent"] is not None:
        train = train.with_labels(selection.labels)
    return replace(
        data,
        train=train,
        test=data.train.subset(selection.held_out) if holds_out else test,
        unlabeled=_take_part(data.train, selection.unlabeled) if parts_labels else data.unlabeled,
    )


def _take_part(images: ImageSet | FileSet, places: Tensor) -> ImageSet | FileSet:
    """Take a part of the images, or all of them without copying the pixels in vain."""
    return images.subset(places) if len(places) < len(images) else images


def _choose_test(test_on: str | None, hold_out: int | None, folds: int | None) -> str:
    if None not in (hold_out, folds):
        raise ValueError(f"select: expected `hold_out` or `folds`, got {hold_out} and {folds}")
    if test_on is None:
        return "test" if hold_out is folds is None else "hold_out"
    check_one_of("select", "test_on", test_on, ("test", "hold_out", "none"))
    if test_on == "hold_out" and hold_out is folds is None:
        raise ValueError("select: expected `hold_out` with `test_on` 'hold_out', got None")
    return test_on


def _check_goes_without_classes(data: str, options: Mapping[str, Any]) -> None:
    for name, value in options.items():
        if value is not None and name not in ("hold_out", "folds", "fold", "train_percent", "seed"):
            raise ValueError(
                f"select: expected no `{name}` for {data!r}, whose labels are masks: an image has "
                f"no class to go by, got {value}"
            )


def _check_class_sizes(name: str, count: int, labels: Tensor, classes: tuple[str, ...]) -> None:
    check_positive_int("select", **{name: count})
    sizes = torch.bincount(labels, minlength=len(classes))
    splits.check_enough("select", name, count, sizes, classes)
