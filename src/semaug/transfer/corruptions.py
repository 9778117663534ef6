"""Test sets of corrupted images that a user brings: arrays like CIFAR-10-C, or folders of classes.

Source: Hendrycks and Dietterich, 2019, https://arxiv.org/abs/1903.12261, section 4, for five
severities of each corruption, and the files of CIFAR-10-C and CIFAR-100-C
"""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from semaug.data import DataSet, ImageSet
from semaug.data.decode import decode_file
from semaug.data.folder import find_images
from semaug.training.errors import UserError, as_user_error

__all__ = ["NUM_SEVERITIES", "CorruptionSet", "find_corruptions", "fingerprint", "images_in_memory"]

# N images, H and W pixels.

NUM_SEVERITIES = 5  # blocks of each file, the mildest first
_LABELS = "labels.npy"


@dataclass(frozen=True)
class CorruptionSet:
    """Corrupted images, read when they are asked for.

    Args:
        names: Of the corruptions.
        num_severities: Of each of them.
        load: Called with a name and a severity, counted from 0; returns images
            ``(N, 3, H, W)`` uint8 and labels ``(N,)`` int64.
    """

    names: tuple[str, ...]
    num_severities: int
    load: Callable[[str, int], tuple[Tensor, Tensor]]


def images_in_memory(data: DataSet) -> ImageSet:
    """Return the test images of a data set that lies in memory.

    Raises:
        UserError: If they lie in files.
    """
    if not isinstance(data.test, ImageSet):
        raise UserError(
            f"transfer: expected images in memory, got data={data.name}, whose images lie in "
            "files; only sets in memory are supported: digits, CIFAR, SVHN, Tiny ImageNet"
        )
    return data.test


def find_corruptions(folder: Path, data: DataSet) -> CorruptionSet:
    """Look at a folder of corrupted test images, and check what can be checked at once.

    Either it holds arrays as CIFAR-10-C does: ``labels.npy``, ``(5 * N,)`` integers, and for
    each corruption ``NAME.npy``, ``(5 * N, H, W, 3)`` uint8, five severities one after the
    other. Or it holds a folder for each class with images of one size, and is one corruption
    that is called as the folder is.

    Args:
        folder: With either.
        data: What networks were trained on; says which classes and which size.

    Raises:
        OSError: If a file cannot be read.
        UserError: If the folder holds neither, or a file of another dtype, shape, or number of
            labels.
    """
    if not folder.is_dir():
        raise UserError(f"transfer: expected a folder of corrupted images, got {str(folder)!r}")
    files = sorted(path for path in folder.iterdir() if path.suffix == ".npy")
    return _find_arrays(folder, files, data) if files else _find_classes(folder, data)


def fingerprint(folder: Path) -> str:
    """Return a sum of names, sizes and times of change of all files below a folder.

    The content of some gigabytes would take longer to read than networks take to test.
    """
    digest = hashlib.sha256()
    for path in sorted(Path(place) / name for place, _, names in os.walk(folder) for name in names):
        status = path.stat()
        about = f"{path.relative_to(folder)}\0{status.st_size}\0{status.st_mtime_ns}\0"
        digest.update(about.encode(errors="surrogateescape"))
    return digest.hexdigest()


def _find_arrays(folder: Path, files: list[Path], data: DataSet) -> CorruptionSet:
    names = tuple(path.stem for path in files if path.name != _LABELS)
    if not names or len(names) == len(files):
        missing = "NAME.npy with images" if names == () else _LABELS
        found = ", ".join(path.name for path in files[:5])
        raise UserError(
            f"transfer: expected {_LABELS} and NAME.npy in {str(folder)!r}, got no {missing} "
            f"beside {found}"
        )
    labels = _read_labels(folder / _LABELS, data.num_classes)
    size = tuple(images_in_memory(data).images.shape[2:])
    for path in files:
        if path.name != _LABELS:
            _check_images(path, _open(path), len(labels), size)
    num_images = len(labels) // NUM_SEVERITIES

    def load(name: str, severity: int) -> tuple[Tensor, Tensor]:
        block = slice(severity * num_images, (severity + 1) * num_images)
        images = torch.from_numpy(_open(folder / f"{name}.npy")[block].copy())
        return images.permute(0, 3, 1, 2), labels[block]

    return CorruptionSet(names, NUM_SEVERITIES, load)


def _open(path: Path) -> Any:
    """Map an array into memory; pickled objects are refused."""
    with as_user_error(f"transfer: cannot read {str(path)!r} as an array: ", ValueError, EOFError):
        return np.load(path, mmap_mode="r", allow_pickle=False)


def _read_labels(path: Path, num_classes: int) -> Tensor:
    labels = _open(path)
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise UserError(
            f"transfer: expected integers of shape (N,) in {str(path)!r}, got {labels.dtype} of "
            f"shape {labels.shape}"
        )
    if len(labels) == 0 or len(labels) % NUM_SEVERITIES:
        raise UserError(
            f"transfer: expected labels of {NUM_SEVERITIES} severities in {str(path)!r}, got "
            f"{len(labels)} labels, which are no multiple"
        )
    if labels.min() < 0 or labels.max() >= num_classes:
        raise UserError(
            f"transfer: expected labels in 0..{num_classes - 1} in {str(path)!r}, got values in "
            f"{labels.min()}..{labels.max()}"
        )
    blocks = labels.reshape(NUM_SEVERITIES, -1)
    if (blocks != blocks[0]).any():
        raise UserError(
            f"transfer: expected the labels of one severity {NUM_SEVERITIES} times in "
            f"{str(path)!r}, got severities with different ones"
        )
    return torch.from_numpy(labels.astype(np.int64))


def _check_images(path: Path, images: Any, num_labels: int, size: tuple[int, ...]) -> None:
    wanted = (num_labels, *size, 3)
    if images.dtype != np.uint8 or images.shape != wanted:
        raise UserError(
            f"transfer: expected uint8 of shape {wanted} in {str(path)!r}, got {images.dtype} of "
            f"shape {images.shape}"
        )


def _find_classes(folder: Path, data: DataSet) -> CorruptionSet:
    """Find images in a folder for each class.

    Names of classes may go on after a space, as Tiny ImageNet's do.
    """
    classes = tuple(name.partition(" ")[0] for name in data.train.classes)
    with as_user_error("transfer: ", ValueError, FileNotFoundError):
        files = find_images(folder, classes)
    shape = tuple(images_in_memory(data).images.shape[1:])

    def load(name: str, severity: int) -> tuple[Tensor, Tensor]:
        images = torch.empty(len(files), *shape, dtype=torch.uint8)
        for place in range(len(files)):
            path = files.paths[place]
            with as_user_error("transfer: ", ValueError):
                image = decode_file(path)
            if image.shape != shape:
                raise UserError(
                    f"transfer: expected images of {shape[1]} x {shape[2]} pixels, got "
                    f"{image.shape[1]} x {image.shape[2]} for {str(path)!r}"
                )
            images[place] = image
        return images, files.labels

    return CorruptionSet((folder.resolve().name,), 1, load)
