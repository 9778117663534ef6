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
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import torch

from semaug.data.class_folders import check_counts, explained, find_images
from semaug.data.folder import IMAGENET_MEAN, IMAGENET_STD
from semaug.data.image_set import DataSet, FilePaths, FileSet, ImageSet
from semaug.data.loader import batches
from semaug.data.source import (
    DataSource,
    Download,
    OfficialFiles,
    how_to_fetch,
    remedy_for_missing,
)
from semaug.registry import data_sets

_FOLDER = "tiny-imagenet-200"
_FLAT = "images"  # of the validation images, as the archive holds them
_NUM_CLASSES = 200
_NUM_IMAGES = {"train": 100_000, "val": 10_000}
_SHAPE = (3, 64, 64)
_BATCH_SIZE = 256  # files that a process decodes at a time
_MOST_WORKERS = 8


@data_sets.register("tiny_imagenet")
class TinyImageNet(DataSource):
    """110,000 photographs of 64 x 64 pixels, 200 classes; 0.2 GB, 1.4 GB of memory."""

    num_classes: ClassVar[int] = _NUM_CLASSES
    side: ClassVar[int] = _SHAPE[1]
    files: ClassVar[OfficialFiles] = OfficialFiles(
        name="tiny_imagenet",
        folder=_FOLDER,
        md5={},
        downloads=(
            Download(
                "http://cs231n.stanford.edu/tiny-imagenet-200.zip",
                "90528d7ca1a48142e341f4ef8d21d0de",
                (_FOLDER,),
            ),
        ),
    )

    def load(self, root: Path, workers: int | None = None) -> DataSet:
        """Read all images; the validation images are the test part, as everywhere.

        Classes are sorted by their WordNet ids, and named by these and by their words, such as
        ``"n01443537 goldfish, Carassius auratus"``.

        Args:
            root: Folder that holds ``tiny-imagenet-200``.
            workers: Processes that decode; 0 decodes in this one. None takes one for each core,
                eight at most, where processes start fast (Linux), and else 0.

        Raises:
            FileNotFoundError: If a file or folder is missing; the message says how to fetch it.
            LoadError: If a process was killed.
            ValueError: If classes or images are missing or too many, the annotations or an image
                are damaged, or an image has another size; the message says how to fetch them again.
        """
        with explained(_remedy(root), FileNotFoundError, ValueError):
            train, test = _find_parts(root / _FOLDER)
            names = _name_classes(root / _FOLDER / "words.txt", train.classes)
            both = [ImageSet(_decode_all(x, workers), x.labels, names) for x in (train, test)]
            return DataSet("tiny_imagenet", both[0], both[1], IMAGENET_MEAN, IMAGENET_STD)

    def check_there(self, root: Path) -> None:
        """Find the files and count them; none is decoded.

        Raises:
            FileNotFoundError: If a file or folder is missing; the message says how to fetch it.
            ValueError: If classes or images are missing or too many.
        """
        with explained(_remedy(root), FileNotFoundError, ValueError):
            _find_parts(root / _FOLDER)


def _remedy(root: Path) -> str:
    files = TinyImageNet.files
    if not (root / _FOLDER).exists():  # an archive that may lie there takes a second to read
        return remedy_for_missing(files, root, _FOLDER)
    return how_to_fetch(files, root)


def _find_parts(folder: Path) -> tuple[FileSet, FileSet]:
    """Find the files of both parts, and count them."""
    train = find_images(folder / "train")
    test = _find_test(folder / "val", train.classes)
    for part, images in (("train", train), ("val", test)):
        check_counts(folder / part, images, _NUM_IMAGES[part], _NUM_CLASSES)
    return train, test


def _find_test(folder: Path, classes: tuple[str, ...]) -> FileSet:
    """Find the validation images, sorted by class and name in both layouts."""
    flat = folder / _FLAT
    present = set(os.listdir(flat)) if flat.is_dir() else set()  # noqa: PTH208, names are wanted
    if not present:  # who sorts them may leave the empty folder behind
        return find_images(folder, classes, passed_over=(_FLAT,))
    annotations = folder / "val_annotations.txt"
    if not annotations.is_file():
        raise FileNotFoundError(f"data: expected the labels in {str(annotations)!r}, got none")
    rows = sorted(_parse_annotations(annotations, classes))
    if missing := [name for _, name in rows if name not in present]:
        raise FileNotFoundError(
            f"data: expected all files of {str(annotations)!r} in {str(flat)!r}, got no "
            f"{missing[0]!r} ({len(missing):,} missing)"
        )
    labels = torch.tensor([label for label, _ in rows], dtype=torch.int64)
    return FileSet(FilePaths.of(flat, [name for _, name in rows]), labels, classes)


def _parse_annotations(annotations: Path, classes: tuple[str, ...]) -> Iterator[tuple[int, str]]:
    """Yield label and name of each image."""
    ids = {name: label for label, name in enumerate(classes)}
    for number, line in enumerate(_read_lines(annotations), start=1):
        name, class_id, *_ = (*line.split("\t"), "")
        if not line.strip():
            continue
        if not name or class_id not in ids:
            raise ValueError(
                f"data: expected an image and a class of the training images in line {number} "
                f"of {str(annotations)!r}, got {line!r}"
            )
        yield ids[class_id], name


def _read_lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8", errors="replace").split("\n")


def _decode_all(files: FileSet, workers: int | None) -> torch.Tensor:
    """Decode all files: ``(N, 3, 64, 64)``."""
    pixels = torch.empty(len(files), *_SHAPE, dtype=torch.uint8)
    order = torch.arange(len(files))
    workers = _default_workers() if workers is None else workers
    for batch in batches(files, order, batch_size=_BATCH_SIZE, workers=workers):
        if batch.pixels.shape[1:] != _SHAPE:
            raise ValueError(
                f"data: expected images of {_SHAPE[1]} x {_SHAPE[2]} pixels, got "
                f"{batch.pixels.shape[2]} x {batch.pixels.shape[3]} for "
                f"{str(files.paths[int(batch.positions[0])])!r}"
            )
        pixels[batch.positions] = batch.pixels
    return pixels


def _name_classes(words: Path, ids: tuple[str, ...]) -> tuple[str, ...]:
    """Put the words of each class behind its id, if their file is there."""
    if not words.is_file():
        return ids
    meanings = dict(line.split("\t", 1) for line in _read_lines(words) if "\t" in line)
    return tuple(f"{name} {meanings.get(name, '')}".strip() for name in ids)


def _default_workers() -> int:
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else 1
    return min(cores, _MOST_WORKERS) if cores > 1 else 0
