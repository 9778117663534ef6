"""Labeled images in memory, or in files that are decoded when a batch needs them; data sets."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from semaug._torch.checks import (
    check_channels_first,
    check_labels,
    check_range,
    check_same_device,
    check_shapes,
)

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
        check_channels_first("ImageSet", self.images)
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
class FilePaths:
    """Paths of many files below one folder, in two tensors.

    As a list of strings the 1.28 million names of ImageNet take 111 MB, and nearly as much again
    in every process that looks at them, because looking changes their reference counts. These
    tensors take 58 MB and are shared by processes, and a part of the files shares the names.

    >>> paths = FilePaths.of("photos", ["cat/1.jpg", "dog/2.jpg", "dog/3.jpg"])
    >>> len(paths), paths[2].as_posix()
    (3, 'photos/dog/3.jpg')
    >>> [path.name for path in paths.subset(torch.tensor([2, 0]))]
    ['3.jpg', '1.jpg']

    Args:
        root: The folder.
        names: uint8, all names one after the other, as the file system encodes them.
        spans: ``(N, 2)`` int64, where a name begins in ``names`` and where it has ended.
    """

    root: str
    names: Tensor
    spans: Tensor

    @classmethod
    def of(cls, root: str | Path, names: Iterable[str]) -> Self:
        """Keep ``names``, which are relative to ``root``, in their order."""
        encoded = [os.fsencode(name) for name in names]
        text = bytearray(b"".join(encoded))
        stops = torch.tensor([len(name) for name in encoded], dtype=torch.int64).cumsum(0)
        starts = torch.cat([stops.new_zeros(1), stops])[:-1]
        # `frombuffer` takes no empty buffer.
        kept = torch.frombuffer(text, dtype=torch.uint8) if text else torch.empty(0).byte()
        return cls(os.fspath(root), kept, torch.stack([starts, stops], dim=1))

    def __len__(self) -> int:
        return len(self.spans)

    def __iter__(self) -> Iterator[Path]:
        return map(self.__getitem__, range(len(self)))

    def __getitem__(self, index: int) -> Path:
        """Build one path."""
        start, stop = self.spans[index].tolist()
        return Path(self.root, os.fsdecode(self.names[start:stop].numpy().tobytes()))

    def subset(self, indices: Tensor) -> Self:
        """Take the paths at ``indices`` (int64, or one bool for each path), in that order."""
        return replace(self, spans=self.spans[indices.to(self.spans.device)])


@dataclass(frozen=True, eq=False)
class MaskFiles:
    """Files of masks, and what the numbers in them mean.

    Args:
        paths: Of N files.
        table: ``(256,)`` int16, the class of each number in a file, 255 for none; -1 of numbers
            that no file should hold.
        colors: Class of each color ``(red, green, blue)`` in files that hold colors; None refuses
            such files.
    """

    paths: FilePaths
    table: Tensor
    colors: Mapping[tuple[int, int, int], int] | None = None

    @classmethod
    def of(cls, paths: FilePaths, ids: Sequence[int], others: int = -1) -> Self:
        """Take the numbers ``ids`` for the classes in their order, 255 for none."""
        table = torch.full((IGNORED + 1,), others, dtype=torch.int16)
        table[IGNORED] = IGNORED
        table[torch.tensor(ids)] = torch.arange(len(ids), dtype=torch.int16)
        return cls(paths, table)

    def subset(self, indices: Tensor) -> Self:
        """Take the files at ``indices``."""
        return replace(self, paths=self.paths.subset(indices))


@dataclass(frozen=True, eq=False)
class FileSet:
    """Files of images, their labels and the names of the classes.

    Args:
        paths: Of N files.
        labels: ``(N,)`` int64 class ids; ``(N, 0, 0)`` where they are masks, which lie in files.
        classes: Names; the id of a class is its place here.
        masks: One for each image; None if an image has one label.

    Raises:
        TypeError: If the labels are of another dtype.
        ValueError: If there is not one label for each file, or a label is no class.
    """

    paths: FilePaths
    labels: Tensor
    classes: tuple[str, ...]
    masks: MaskFiles | None = None

    @classmethod
    def with_masks(cls, paths: FilePaths, masks: MaskFiles, classes: tuple[str, ...]) -> Self:
        """Build a set of images whose labels are masks.

        Raises:
            ValueError: If there is not one mask for each image.
        """
        labels = torch.empty(len(masks.paths), 0, 0, dtype=torch.int64)
        return cls(paths, labels, classes, masks)

    def __post_init__(self) -> None:
        check_shapes("FileSet", labels=(self.labels, "N" if self.masks is None else "N 0 0"))
        check_labels("FileSet", self.labels)
        if len(self.labels) != len(self.paths):
            raise ValueError(
                f"FileSet: expected one label for each of {len(self.paths)} `paths`, "
                f"got {len(self.labels)}"
            )
        if self.masks is None:
            check_range("FileSet", "labels", self.labels, len(self.classes))

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device | str) -> Self:
        """Copy the labels to a device; pixels follow batch by batch, as they are decoded."""
        return self.with_labels(self.labels, device)

    def subset(self, indices: Tensor) -> Self:
        """Take the files at ``indices`` (int64, or one bool for each file), in that order."""
        own = indices.to(self.labels.device)
        masks = None if self.masks is None else self.masks.subset(indices)
        return type(self)(self.paths.subset(indices), self.labels[own], self.classes, masks)

    def with_labels(self, labels: Tensor, device: torch.device | str | None = None) -> Self:
        """Give the same files other labels ``(N,)``, of the same classes, on a device."""
        device = self.labels.device if device is None else device
        return type(self)(self.paths, labels.to(device), self.classes, self.masks)


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
        notes: What a person should know before training on it, in lines, such as what was passed
            over.
        colors: Red, green and blue of each class in pictures of masks; None chooses.
        ids: Number of each class in files of masks; None is its place among the classes.
        others: Further images of the same classes to learn from, by name, such as those of a
            generator; None is none.

    Raises:
        ValueError: If images are bytes, and ``mean`` or ``std`` is missing.
    """

    name: str
    train: ImageSet | FileSet
    test: ImageSet | FileSet
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    unlabeled: ImageSet | FileSet | None = None
    notes: tuple[str, ...] = ()
    colors: tuple[tuple[int, int, int], ...] | None = None
    ids: tuple[int, ...] | None = None
    others: Mapping[str, ImageSet | FileSet] | None = None

    def __post_init__(self) -> None:
        if self.has_bytes and (self.mean is None or self.std is None):
            raise ValueError("DataSet: expected `mean` and `std` to normalize bytes with, got None")

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes; the id of a class is its place here."""
        return self.train.classes

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.classes)

    @property
    def num_images(self) -> int:
        """Number of images to learn from with their labels."""
        return len(self.train)

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
        others = {name: part.to(device) for name, part in (self.others or {}).items()}
        return replace(self, train=train, test=test, unlabeled=unlabeled, others=others)

    def part(self, name: str) -> ImageSet | FileSet | None:
        """Return images to learn from: ``"train"``, ``"unlabeled"`` or others; None without any."""
        return {"train": self.train, "unlabeled": self.unlabeled, **(self.others or {})}.get(name)


_AT_ONCE = 64  # masks that are checked
