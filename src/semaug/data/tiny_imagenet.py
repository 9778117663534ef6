"""Tiny ImageNet: 200 classes, 100,000 and 10,000 images of 64 x 64 pixels, whole in memory.

    root/tiny-imagenet-200/train/n01443537/images/n01443537_0.JPEG
    root/tiny-imagenet-200/val/images/val_0.JPEG and val/val_annotations.txt, or
    root/tiny-imagenet-200/val/n01443537/val_0.JPEG, sorted into folders as many people do

The 1.35 GB of pixels fit where such networks are trained, and on the device they are augmented
much faster than files are decoded. So each file is read once, when a run begins.

Source: Stanford CS231n, http://cs231n.stanford.edu/tiny-imagenet-200.zip
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from semaug.data.file_set import FilePaths, FileSet
from semaug.data.folder import IMAGENET_MEAN, IMAGENET_STD, find_images
from semaug.data.image_set import DataSet, ImageSet
from semaug.data.loader import batches
from semaug.data.official import fetch_command

__all__ = ["load_tiny_imagenet"]

_FOLDER = "tiny-imagenet-200"
_NUM_CLASSES = 200
_NUM_IMAGES = {"train": 100_000, "val": 10_000}
_SHAPE = (3, 64, 64)
_BATCH_SIZE = 256  # files that a process decodes at a time
_MOST_WORKERS = 8


def load_tiny_imagenet(
    root: Path,
    *,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> DataSet:
    """Read Tiny ImageNet; its validation images are the test part, as everywhere.

    Classes are sorted by their WordNet ids, and named by these and by their words, such as
    ``"n01443537 goldfish, Carassius auratus"``.

    Args:
        root: Folder that holds ``tiny-imagenet-200``.
        workers: Processes that decode; 0 decodes in this one. None takes one for each core, eight
            at most, where processes start fast (Linux), and else 0.
        progress: Called now and then with the number of images read so far and that of all.

    Raises:
        FileNotFoundError: If a file or folder is missing; the message says how to fetch it.
        ValueError: If classes or images are missing or too many, a file is damaged, or an image
            has another size.
    """
    folder = root / _FOLDER
    try:
        train = find_images(folder / "train")
        test = _find_test(folder / "val", train.classes)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{error}; {_remedy(root)}") from error
    _check_counts(root, train=train, val=test)
    total = len(train) + len(test)
    workers = _default_workers() if workers is None else workers
    report = progress or (lambda done, total: None)
    names = _name_classes(folder / "words.txt", train.classes)
    return DataSet(
        "tiny_imagenet",
        _read(train, names, workers, lambda done: report(done, total)),
        _read(test, names, workers, lambda done: report(len(train) + done, total)),
        IMAGENET_MEAN,
        IMAGENET_STD,
    )


def _find_test(folder: Path, classes: tuple[str, ...]) -> FileSet:
    """Find the validation images, sorted by class and name in both layouts."""
    flat = folder / "images"
    present = set(os.listdir(flat)) if flat.is_dir() else set()  # noqa: PTH208, names are wanted
    if not present:
        return find_images(folder, classes)
    annotations = folder / "val_annotations.txt"
    if not annotations.is_file():
        raise FileNotFoundError(f"load_data: expected the labels in {str(annotations)!r}, got none")
    lines = annotations.read_text().splitlines()
    rows = sorted((line.split("\t")[1], line.split("\t")[0]) for line in lines)
    if missing := [name for _, name in rows if name not in present]:
        raise FileNotFoundError(
            f"load_data: expected all files of {str(annotations)!r} in {str(flat)!r}, got no "
            f"{missing[0]!r} ({len(missing):,} missing)"
        )
    ids = {name: label for label, name in enumerate(classes)}
    if unknown := [name for name, _ in rows if name not in ids]:
        raise ValueError(
            f"load_data: expected classes of the training images in {str(annotations)!r}, "
            f"got {unknown[0]!r}"
        )
    labels = torch.tensor([ids[name] for name, _ in rows], dtype=torch.int64)
    return FileSet(FilePaths.of(flat, [name for _, name in rows]), labels, classes)


def _check_counts(root: Path, **parts: FileSet) -> None:
    for part, images in parts.items():
        counts = len(images), len(images.classes)
        if counts != (_NUM_IMAGES[part], _NUM_CLASSES):
            raise ValueError(
                f"load_data: expected {_NUM_IMAGES[part]:,} images of {_NUM_CLASSES} classes in "
                f"{str(root / _FOLDER / part)!r}, got {counts[0]:,} of {counts[1]}; {_remedy(root)}"
            )


def _read(
    files: FileSet, classes: tuple[str, ...], workers: int, report: Callable[[int], None]
) -> ImageSet:
    """Decode all files."""
    pixels = torch.empty(len(files), *_SHAPE, dtype=torch.uint8)
    order = torch.arange(len(files))
    for batch in batches(files, order, batch_size=_BATCH_SIZE, workers=workers):
        if batch.pixels.shape[1:] != _SHAPE:
            path = files.paths[int(batch.positions[0])]
            raise ValueError(
                f"load_data: expected images of {_SHAPE[1]} x {_SHAPE[2]} pixels, got "
                f"{batch.pixels.shape[2]} x {batch.pixels.shape[3]} for {str(path)!r}"
            )
        pixels[batch.positions] = batch.pixels
        report(int(batch.positions[-1]) + 1)
    return ImageSet(pixels, files.labels, classes)


def _name_classes(words: Path, ids: tuple[str, ...]) -> tuple[str, ...]:
    """Put the words of each class behind its id, if their file is there."""
    if not words.is_file():
        return ids
    meanings = dict(line.split("\t", 1) for line in words.read_text().splitlines() if "\t" in line)
    return tuple(f"{name} {meanings.get(name, '')}".strip() for name in ids)


def _default_workers() -> int:
    if sys.platform != "linux":
        return 0
    cores = len(os.sched_getaffinity(0))
    return min(cores, _MOST_WORKERS) if cores > 1 else 0


def _remedy(root: Path) -> str:
    return (
        f"fetch it with: {fetch_command('tiny_imagenet', root)}, or name the folder that holds "
        f"{_FOLDER}/ with --data-root or SEMAUG_DATA"
    )
