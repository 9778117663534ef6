"""Checking a data set: every file read, every image counted, every problem named."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from semaug.data.class_folders import image_extensions
from semaug.data.description import describe_classes
from semaug.data.errors import WHAT_TO_DO
from semaug.data.image_set import DataSet, FilePaths, FileSet, ImageSet, MaskFiles
from semaug.data.near_duplicates import find_near_duplicates
from semaug.data.registry import data_root
from semaug.data.source import DataSource, fetch_command, open_official
from semaug.registry import data_sets

# N images of C channels, H and W pixels.

Progress = Callable[[int, int], None]

_MOST_PAIRS = 20  # that are named
_CHUNK = 1024  # images measured, or files handed to the threads, at a time


@dataclass(frozen=True)
class Problem:
    """What is wrong with a file or folder; the message says what mends it."""

    path: Path
    message: str


@dataclass(frozen=True)
class PartReport:
    """What one part of a data set holds.

    Args:
        num_images: Of the whole part.
        smallest_class: Images of the class that has fewest; where labels are masks, images that
            show it.
        largest_class: Images of the class that has most, likewise.
        height: Least and greatest, in pixels.
        width: Likewise.
        mean: Of each channel over all pixels of all images, on a scale of 0 to 1.
        std: Standard deviation, likewise.
    """

    num_images: int
    smallest_class: int
    largest_class: int
    height: tuple[int, int]
    width: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True)
class CheckReport:
    """What a check found.

    Args:
        name: Of the data set.
        root: Data root.
        num_classes: 0 if the set could not be read.
        parts: By name, ``"train"`` and ``"test"``; without parts that are empty or could not be
            read.
        notes: What else a person should know: classes, and what is passed over.
        problems: None is how it should be.
    """

    name: str
    root: Path
    num_classes: int = 0
    parts: dict[str, PartReport] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()


def check(
    name: str,
    root: str | Path | None = None,
    *,
    progress: Progress | None = None,
    threads: int | None = None,
    **options: Any,
) -> CheckReport:
    """Check the files of a data set, and measure what is in them.

    Files with official MD5 sums are compared with these; images in files of their own are all
    decoded. So a set that passes will not stop a training run.

    Args:
        name: As ``data=`` of a recipe.
        root: Data root, as in :func:`semaug.data.load_data`.
        progress: Called now and then with the number of images measured so far, and of all; then
            with those that near duplicates were looked for among.
        threads: How many decode images (processes, where reading the set does that); None is one
            for each core. They change no result.
        **options: Of the data set.

    Returns:
        Sizes, and all problems.

    Raises:
        LoadError: If a process was killed.
        ModuleNotFoundError: If a package of the extra ``train`` is missing that the set needs.
        ValueError: If the name or an option is unknown, or images are no bytes.
    """
    source = data_sets.make(name, **options)
    root = data_root(root)
    if problems := _compare_checksums(source, root):
        return CheckReport(name, root, problems=tuple(problems))
    try:
        data = source.load(root, threads)
    except (OSError, ValueError) as error:
        # Reading stops at the first one.
        lines = [Problem(root, line.removeprefix("data: ")) for line in str(error).splitlines()]
        problems = _find_damaged(source, root, threads) or lines
        return CheckReport(name, root, problems=tuple(problems))
    progress = progress or (lambda done, total: None)
    if not isinstance(data, DataSet):  # objects in images, not labels of images
        parts, problems, told = data.measure(progress, threads)
        told = [*data.notes, *told]
        return CheckReport(name, root, data.num_classes, parts, tuple(told), tuple(problems))
    if not data.has_bytes:
        raise ValueError(f"check: expected images of bytes to measure, got others of {name!r}")
    parts, problems, told = measure(data, progress, threads)
    notes = [*data.notes, *told]
    if getattr(source, "is_users_own", False):
        notes.insert(0, describe_classes(data.train))
        if files := [part for part in (data.train, data.test) if isinstance(part, FileSet)]:
            notes += _find_duplicates(files, progress, threads)
    return CheckReport(name, root, data.num_classes, parts, tuple(notes), tuple(problems))


def _find_duplicates(
    parts: Sequence[FileSet], progress: Progress, threads: int | None
) -> list[str]:
    found = find_near_duplicates(parts, progress=progress, threads=threads)
    lines = found.describe(_MOST_PAIRS)
    if len(found.pairs):
        lines.append(
            "keep one image of each pair where both are of one class and part; else correct the "
            "label, or take the image out of the training part"
        )
    return lines


def _compare_checksums(source: DataSource, root: Path) -> list[Problem]:
    files: Any = getattr(source, "files", None)
    problems = []
    for name in files.md5 if files else ():
        try:
            with open_official(files, root, name):
                pass
        except (OSError, ValueError) as error:
            problems.append(Problem(root / files.folder / name, _reason(error)))
    return problems


def measure(
    data: DataSet, progress: Progress, threads: int | None
) -> tuple[dict[str, PartReport], list[Problem], list[str]]:
    """Read all images, and return what the parts hold, damaged files, and notes about masks."""
    parts: dict[str, PartReport] = {}
    problems: list[Problem] = []
    notes: list[str] = []
    total, done = len(data.train) + len(data.test), 0
    for name, images in (("train", data.train), ("test", data.test)):
        histogram, heights, widths = np.zeros((1, 256), np.int64), set[int](), set[int]()
        pixels = shown = torch.zeros(256, dtype=torch.int64)  # of masks, by class
        for one in _measure_part(images, threads):
            if isinstance(one, Problem):
                problems.append(one)
                done += 1
            else:
                histogram = histogram + one.histogram
                heights.add(one.height)
                widths.add(one.width)
                pixels, shown = pixels + one.pixels.sum(0), shown + (one.pixels > 0).sum(0)
                done += one.num_images
            progress(done, total)
        if heights:
            counts = shown[: data.num_classes]
            if data.has_masks:
                notes.append(_describe_masks(name, data.classes, pixels, counts))
            else:
                counts = torch.bincount(images.labels, minlength=data.num_classes)
            parts[name] = _summarize_part(len(images), counts, histogram, heights, widths)
            if data.has_masks and (counts > 0).sum() < 2:
                message = f"expected masks of two classes or more in {name}; {notes.pop()}"
                problems.append(Problem(Path(name), message))
    return parts, problems, notes


def _describe_masks(name: str, classes: Sequence[str], pixels: Tensor, shown: Tensor) -> str:
    """Say how many pixels of the masks of a part have a class, and which classes are absent."""
    total = int(pixels.sum())
    known = pixels[: len(classes)]
    named = [f"{x} {100 * int(n) / total:.1f} %" for x, n in zip(classes, known, strict=True)]
    absent = [x for x, n in zip(classes, shown.tolist(), strict=True) if not n]
    none = 100 * (total - int(known.sum())) / total
    return (
        f"masks of {name}: {', '.join(named)}; no class {none:.1f} % of pixels"
        + f"; in no mask: {', '.join(absent)}" * bool(absent)
    )


class _Measured(NamedTuple):
    """What images of one size hold."""

    num_images: int
    histogram: np.ndarray  # (C, 256) int64, pixels of each level in each channel
    height: int
    width: int
    pixels: Tensor  # (N, 256) int64, of each class in each mask; (0, 256) without masks


def _measure_images(images: Tensor, masks: Tensor | None = None) -> _Measured:
    """Measure ``(N, C, H, W)`` bytes and masks ``(N, H, W)``, N > 0."""
    channels = images.cpu().transpose(0, 1).flatten(1, 2).contiguous().numpy()  # (C, NH, W)
    # Twice as fast as `numpy.bincount`, and in one thread.
    histogram = np.array([Image.fromarray(channel).histogram() for channel in channels])
    pixels = torch.empty(0, 256, dtype=torch.int64)
    if masks is not None:
        pixels = torch.stack([torch.bincount(x.flatten().cpu(), minlength=256) for x in masks])
    return _Measured(len(images), histogram, images.shape[2], images.shape[3], pixels)


def _summarize_part(
    num_images: int, counts: Tensor, histogram: np.ndarray, heights: set[int], widths: set[int]
) -> PartReport:
    share = histogram / np.sum(histogram, axis=1, keepdims=True)  # (C, 256)
    levels = np.arange(256) / 255
    mean = share @ levels
    variance = (share * (levels - mean[:, None]) ** 2).sum(1)
    return PartReport(
        num_images=num_images,
        smallest_class=int(counts.min()),
        largest_class=int(counts.max()),
        height=(min(heights), max(heights)),
        width=(min(widths), max(widths)),
        mean=tuple(mean.tolist()),
        std=tuple(np.sqrt(variance).tolist()),
    )


def _measure_part(images: ImageSet | FileSet, threads: int | None) -> Iterator[_Measured | Problem]:
    if isinstance(images, FileSet):
        return _measure_files(images.paths, threads, images.masks)
    masks = images.labels if images.labels.ndim > 1 else None
    chunks = torch.arange(len(images)).split(_CHUNK)
    return (
        _measure_images(images.images[chunk], None if masks is None else masks[chunk])
        for chunk in chunks
        if len(chunk)
    )


def _measure_files(
    paths: FilePaths | Sequence[Path], threads: int | None, masks: MaskFiles | None = None
) -> Iterator[_Measured | Problem]:
    with ThreadPoolExecutor(threads or os.cpu_count()) as pool:
        for start in range(0, len(paths), _CHUNK):  # a pool queues all that it is given
            stop = min(start + _CHUNK, len(paths))
            places = range(start, stop)
            measure_file = partial(_measure_file, masks)
            yield from pool.map(measure_file, [paths[place] for place in places], places)


def _measure_file(masks: MaskFiles | None, path: Path, place: int) -> _Measured | Problem:
    from semaug.data.decode import decode_file, decode_pair  # imports torchvision, which is slow

    try:
        if masks is None:
            return _measure_images(decode_file(path).unsqueeze(0))
        return _measure_images(*(x.unsqueeze(0) for x in decode_pair(path, masks, place)))
    except (OSError, ValueError) as error:
        return Problem(path, _reason(error))


def _find_damaged(source: DataSource, root: Path, threads: int | None) -> list[Problem]:
    """Name every damaged image of a set that decodes all of them when it is read."""
    files = getattr(source, "files", None)
    if not files or files.md5:
        return []
    inside = (root / files.folder).rglob("*")
    paths = sorted(path for path in inside if path.suffix.lower() in image_extensions())
    found = [one for one in _measure_files(paths, threads) if isinstance(one, Problem)]
    remedy = f"; fetch it with: {fetch_command(files.name, root)}"  # one alone cannot be
    return [Problem(one.path, one.message.removesuffix(WHAT_TO_DO) + remedy) for one in found]


def _reason(error: Exception) -> str:
    """Return the message without the name of the function, which nobody called."""
    return str(error).removeprefix("data: ")
