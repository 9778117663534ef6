"""Test sets of corrupted images that a user brings: arrays like CIFAR-10-C, or folders of classes.

Source: Hendrycks and Dietterich, 2019, https://arxiv.org/abs/1903.12261, section 4, for five
severities of each corruption, and the files of CIFAR-10-C and CIFAR-100-C
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from semaug.data import FileSet, ImageSet
from semaug.data.class_folders import find_images
from semaug.data.decode import decode_file
from semaug.engine.trained import Trained
from semaug.errors import UserError, as_user_error

# N images, H and W pixels.

NUM_SEVERITIES = 5  # blocks of each file, the mildest first
_LABELS = "labels.npy"


@dataclass(frozen=True)
class CorruptionSet:
    """Corrupted images, read when they are asked for.

    Args:
        names: Of the corruptions.
        num_severities: Of each of them.
        num_images: N, of each severity.
        batches: Called with a name and a severity, counted from 0; yields images
            ``(n, 3, H, W)`` uint8 and labels ``(n,)`` int64.
    """

    names: tuple[str, ...]
    num_severities: int
    num_images: int
    batches: Callable[[str, int], Iterator[tuple[Tensor, Tensor]]]


def find_corruptions(folder: Path, trained: Trained) -> CorruptionSet:
    """Look at a folder of corrupted test images, and check what can be checked at once.

    Either it holds arrays as CIFAR-10-C does: ``labels.npy``, ``(5 * N,)`` integers, and for
    each corruption ``NAME.npy``, ``(5 * N, H, W, 3)`` uint8 of the size that networks see, five
    severities one after the other. Or it holds a folder for each class, and is one corruption
    that is called as the folder is. Its images have the size of those of the run, where these lie
    in memory. Where they lie in files, they may have any size, and are resized and cropped as the
    run's own.

    Args:
        folder: With either.
        trained: Says which classes, which size, and how large batches are.

    Raises:
        OSError: If a file cannot be read.
        UserError: If the folder holds neither, or a file of another dtype, shape, or number of
            labels.
    """
    if not folder.is_dir():
        raise UserError(f"transfer: expected a folder of corrupted images, got {str(folder)!r}")
    files = sorted(path for path in folder.iterdir() if path.suffix == ".npy")
    return _find_arrays(folder, files, trained) if files else _find_classes(folder, trained)


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


def _find_arrays(folder: Path, files: list[Path], trained: Trained) -> CorruptionSet:
    names = tuple(path.stem for path in files if path.name != _LABELS)
    if not names or len(names) == len(files):
        raise UserError(
            f"transfer: expected {_LABELS} and NAME.npy in {str(folder)!r}, got no "
            f"{_LABELS if names else 'NAME.npy with images'} beside "
            + ", ".join(path.name for path in files[:5])
        )
    labels = _read_labels(folder / _LABELS, trained.data.num_classes)
    size = tuple(trained.example_pixels().shape[2:])
    wanted = (len(labels), *size, 3)
    for path in (folder / f"{name}.npy" for name in names):
        images = _open(path)
        if images.dtype != np.uint8 or images.shape != wanted:
            raise UserError(
                f"transfer: expected uint8 of shape {wanted} in {str(path)!r}, got {images.dtype} "
                f"of shape {images.shape}"
            )
    num_images = len(labels) // NUM_SEVERITIES

    def batches(name: str, severity: int) -> Iterator[tuple[Tensor, Tensor]]:
        images = _open(folder / f"{name}.npy")
        places = torch.arange(severity * num_images, (severity + 1) * num_images)
        for rows in places.split(trained.recipe.evaluation_batch_size):
            yield torch.from_numpy(images[rows.numpy()]).permute(0, 3, 1, 2), labels[rows]

    return CorruptionSet(names, NUM_SEVERITIES, num_images, batches)


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


def _find_classes(folder: Path, trained: Trained) -> CorruptionSet:
    """Find images in a folder for each class."""
    data = trained.data
    classes: tuple[str, ...] = data.train.classes
    if isinstance(data.test, ImageSet):  # names may go on after a space, as Tiny ImageNet's do
        classes = tuple(name.partition(" ")[0] for name in classes)
    with as_user_error("transfer: ", ValueError, FileNotFoundError):
        files = find_images(folder, classes)

    def batches(name: str, severity: int) -> Iterator[tuple[Tensor, Tensor]]:
        if isinstance(data.test, ImageSet):
            shape = tuple(data.test.images.shape[1:])
            return _decode(files, shape, trained.recipe.evaluation_batch_size)
        seen = trained.pixels(files.to(trained.device))
        return ((batch.pixels, batch.labels) for batch in seen)

    return CorruptionSet((folder.resolve().name,), 1, len(files), batches)


def _decode(
    files: FileSet, shape: tuple[int, ...], batch_size: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield batches of images that have one size already."""
    for rows in torch.arange(len(files)).split(batch_size):
        images = torch.empty(len(rows), *shape, dtype=torch.uint8)
        for own, place in zip(images, rows.tolist(), strict=True):
            with as_user_error("transfer: ", ValueError):
                image = decode_file(files.paths[place])
            if image.shape != shape:
                raise UserError(
                    f"transfer: expected images of {shape[1]} x {shape[2]} pixels, got "
                    f"{image.shape[1]} x {image.shape[2]} for {str(files.paths[place])!r}"
                )
            own.copy_(image)
        yield images, files.labels[rows]
