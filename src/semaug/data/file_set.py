"""Labeled images that stay in files, and are decoded when a batch needs them."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from semaug._torch.checks import check_labels, check_range, check_shapes

# N files.


@dataclass(frozen=True, eq=False)  # tensors have no single truth value to compare by
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

    def __getitem__(self, index: int) -> Path:
        """Build one path; an index that is too high ends an iteration."""
        start, stop = self.spans[index].tolist()
        name = os.fsdecode(self.names[start:stop].numpy().tobytes())
        return Path(self.root, name)

    def subset(self, indices: Tensor) -> Self:
        """Take the paths at ``indices`` (int64, or one bool for each path), in that order."""
        return type(self)(self.root, self.names, self.spans[indices.to(self.spans.device)])


@dataclass(frozen=True, eq=False)
class FileSet:
    """Files of images, their labels and the names of the classes.

    Args:
        paths: Of N files.
        labels: ``(N,)`` int64 class ids.
        classes: Names; the id of a class is its place here.

    Raises:
        TypeError: If the labels are of another dtype.
        ValueError: If there is not one label for each file, or a label is no class.
    """

    paths: FilePaths
    labels: Tensor
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        check_shapes("FileSet", labels=(self.labels, "N"))
        check_labels("FileSet", self.labels)
        if len(self.labels) != len(self.paths):
            raise ValueError(
                f"FileSet: expected one label for each of {len(self.paths)} `paths`, "
                f"got {len(self.labels)}"
            )
        check_range("FileSet", "labels", self.labels, len(self.classes))

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device | str) -> Self:
        """Copy the labels to a device; pixels follow batch by batch, as they are decoded."""
        return type(self)(self.paths, self.labels.to(device), self.classes)

    def subset(self, indices: Tensor) -> Self:
        """Take the files at ``indices`` (int64, or one bool for each file), in that order."""
        labels = self.labels[indices.to(self.labels.device)]
        return type(self)(self.paths.subset(indices), labels, self.classes)

    def with_labels(self, labels: Tensor) -> Self:
        """Give the same files other labels ``(N,)``, of the same classes."""
        return type(self)(self.paths, labels.to(self.labels.device), self.classes)
