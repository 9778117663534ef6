"""Labeled images that fit in memory; and a data set, of these or of files."""

from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from semaug._torch.checks import check_labels, check_range, check_same_device, check_shapes
from semaug.data.file_set import FileSet

# N images of C channels, H and W pixels.

IGNORED = 255  # in masks of fewer classes: pixels that belong to none


@dataclass(frozen=True, eq=False)  # tensors have no single truth value to compare by
class ImageSet:
    """Images, their labels and the names of the classes.

    Args:
        images: ``(N, C, H, W)`` uint8, and C is 3 in all our sets; or float32, which networks take
            as they are.
        labels: ``(N,)`` int64 class ids; or masks, ``(N, H, W)`` uint8 or int64, with the class
            id of each pixel, or 255 for none.
        classes: Names; the id of a class is its place here.

    Raises:
        TypeError: If a dtype is another one.
        ValueError: If shapes or devices disagree, or a label is no class.
    """

    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        has_masks = isinstance(self.labels, Tensor) and self.labels.ndim == 3
        labels = (self.labels, "N H W" if has_masks else "N")
        check_shapes("ImageSet", images=(self.images, "N C H W"), labels=labels)
        check_same_device("ImageSet", images=self.images, labels=self.labels)
        if not has_masks or self.labels.dtype != torch.uint8:
            check_labels("ImageSet", self.labels)
        if self.images.dtype not in (torch.uint8, torch.float32):
            raise TypeError(
                "ImageSet: expected `images` of dtype torch.uint8 or torch.float32, got "
                f"{self.images.dtype}"
            )
        for part in self.labels.split(_AT_ONCE if has_masks else max(1, len(self.labels))):
            kept = part[part != IGNORED] if has_masks else part
            check_range("ImageSet", "labels", kept, len(self.classes))

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device | str) -> Self:
        """Copy images and labels to a device."""
        return type(self)(self.images.to(device), self.labels.to(device), self.classes)

    def subset(self, indices: Tensor) -> Self:
        """Take the images at ``indices`` (int64, or one bool for each image), in that order."""
        indices = indices.to(self.labels.device)
        return type(self)(self.images[indices], self.labels[indices], self.classes)

    def with_labels(self, labels: Tensor) -> Self:
        """Give the same images other labels or masks, of the same classes."""
        return type(self)(self.images, labels.to(self.labels.device), self.classes)


@dataclass(frozen=True, eq=False)
class DataSet:
    """Training and test images, with the constants that normalize them.

    Args:
        name: Name for :func:`semaug.data.load_data`.
        train: Images to learn from, in memory or in files.
        test: Images to measure the error on, likewise.
        mean: Of each channel over the whole official training part, on a scale of 0 to 1; of
            ImageNet's for Tiny ImageNet and folders. None if images are no bytes.
        std: Standard deviation, likewise.
        unlabeled: Images to learn from without their labels, which are for metrics only; None
            where all images to learn from are labeled.

    Raises:
        ValueError: If images are bytes, and ``mean`` or ``std`` is missing.
    """

    name: str
    train: ImageSet | FileSet
    test: ImageSet | FileSet
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    unlabeled: ImageSet | FileSet | None = None

    def __post_init__(self) -> None:
        if self.has_bytes and (self.mean is None or self.std is None):
            raise ValueError("DataSet: expected `mean` and `std` to normalize bytes with, got None")

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.train.classes)

    @property
    def has_bytes(self) -> bool:
        """Whether images are bytes, to be normalized with ``mean`` and ``std``."""
        return isinstance(self.train, FileSet) or self.train.images.dtype == torch.uint8

    @property
    def mean_color(self) -> int | tuple[int, ...]:
        """What normalization turns into 0, to the nearest byte; 0 of images that are no bytes."""
        return tuple(round(255 * value) for value in self.mean) if self.mean else 0

    @property
    def has_masks(self) -> bool:
        """Whether there is a label for each pixel, not for each image."""
        return self.train.labels.ndim > 1

    def to(self, device: torch.device | str) -> Self:
        """Copy all parts to a device."""
        unlabeled = None if self.unlabeled is None else self.unlabeled.to(device)
        train, test = self.train.to(device), self.test.to(device)
        return replace(self, train=train, test=test, unlabeled=unlabeled)


_AT_ONCE = 64  # masks that are checked
