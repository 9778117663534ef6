"""Photographs and masks that belong together by their names, and the classes of masks."""

import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import torch

from semaug.data.class_folders import ClassFolder, listed, printable
from semaug.data.image_set import IGNORED, FilePaths, FileSet, ImageSet
from semaug.data.views import resize, resize_mask

Color = tuple[int, int, int]

_NO_CLASS = "ignored"  # the name of a color that means no class
_CLASS = re.compile(r"(?P<name>.+?)(?P<color>(?:[\s,]+\d+){3})?")  # a line of classes.txt


def find_pairs(
    images: Path, masks: Path, endings: tuple[str, str] = ("", "")
) -> tuple[FilePaths, FilePaths]:
    """Find photographs and their masks, in the order of the names of the photographs.

    Args:
        images: Folder of the photographs, which may lie in folders within it.
        masks: Folder of the masks, likewise.
        endings: What the names of photographs and of masks have before their dot, and names of a
            pair differ in. Other masks are passed over.

    Raises:
        FileNotFoundError: If there is no such folder, or no photograph in it.
        ValueError: If a photograph has no mask or several, or a mask no photograph.
    """
    found = [_group_by_stem(*own) for own in zip((images, masks), endings, strict=True)]
    if not found[0]:
        raise FileNotFoundError(f"data: expected photographs in {str(images)!r}, got none")
    for own, other, folder, what in (
        (found[0], found[1], masks, "a mask in"),
        (found[1], found[0], images, "a photograph in"),
    ):
        if alone := [printable(names[0]) for stem, names in own.items() if stem not in other]:
            raise ValueError(
                f"data: expected {what} {str(folder)!r} for each of {len(own):,} files, got none "
                f"for {listed(alone)}; names are to be equal but for the ending"
            )
        if several := [printable(names[0]) for names in own.values() if len(names) > 1]:
            raise ValueError(
                f"data: expected files of different names, got several {listed(several)}"
            )
    pairs = [(names[0], found[1][stem][0]) for stem, names in found[0].items()]
    return FilePaths.of(images, [x for x, _ in pairs]), FilePaths.of(masks, [y for _, y in pairs])


def _group_by_stem(folder: Path, ending: str) -> dict[str, list[str]]:
    """Return the names of the images below a folder by what a pair has in common, sorted."""
    found: dict[str, list[str]] = {}
    for name in sorted(os.path.normpath(image) for image in ClassFolder.of(folder, ".").images):
        path = PurePath(name)
        if path.stem.endswith(ending):
            stem = str(path.with_name(path.stem.removesuffix(ending) or path.name))
            found.setdefault(stem, []).append(name)
    return found


def numbers_in(masks: FilePaths) -> tuple[int, ...]:
    """Return the numbers in masks, sorted, without 255 for no class.

    Raises:
        OSError: If a file cannot be read.
        ValueError: If a file is damaged, or holds colors.
    """
    from semaug.data.decode import decode_mask, read_numbers  # imports torchvision, which is slow

    def look(path: Path) -> list[int]:
        numbers = read_numbers(path)
        if numbers.ndim == 3:
            decode_mask(path, torch.zeros(256))  # says so
        return [int(x) for x in np.unique(numbers)]

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = set().union(*pool.map(look, masks))
    return tuple(sorted(found - {IGNORED}))


def read_classes(path: Path) -> tuple[tuple[str, ...], tuple[Color, ...], Color | None]:
    """Read a file with a line for each class: its name and, if wanted, red, green and blue.

    Returns:
        Names, their colors or none, and the color of the line ``ignored RED GREEN BLUE`` for no
        class; nothing if there is no such file.

    Raises:
        ValueError: If two names or colors are equal, or some lines have a color and others none.
    """
    if not path.is_file():
        return (), (), None
    lines = filter(None, map(str.strip, path.read_text(encoding="utf-8").splitlines()))
    rows = [row for row in map(_CLASS.fullmatch, lines) if row]
    names = [row["name"] for row in rows]
    colors = [tuple(map(int, re.findall(r"\d+", row["color"]))) for row in rows if row["color"]]
    several = any(len({*own}) < len(own) for own in (names, colors))
    if several or len(colors) not in (0, len(names)) or any(max(x) > 255 for x in colors):
        raise ValueError(
            f"data: expected a line of its own for each class in {str(path)!r}, NAME or in all "
            "lines NAME RED GREEN BLUE, from 0 to 255, got equal names or colors, other numbers, "
            "or a color in some lines alone"
        )
    by_name: dict[str, Any] = dict(zip(names, colors, strict=False))
    no_class = by_name.pop(_NO_CLASS, None)
    kept = tuple(name for name in names if no_class is None or name != _NO_CLASS)
    return kept, tuple(by_name.values()), no_class


def read_into_memory(files: FileSet, height: int | None = None) -> ImageSet:
    """Decode photographs of one size and their masks.

    Args:
        files: Images with masks.
        height: To which images are resized bilinearly with smoothing, and masks to the nearest
            pixel; None keeps their size.

    Raises:
        OSError: If a file cannot be read.
        ValueError: If a file is damaged, or sizes differ.
    """
    from semaug.data.decode import decode_pair  # imports torchvision, which is slow

    masks = files.masks
    assert masks is not None, "only sets with masks come here"

    def read(place: int) -> tuple[torch.Tensor, torch.Tensor]:
        image, mask = decode_pair(files.paths[place], masks, place)
        if height is not None:
            size = height, round(image.shape[2] * height / image.shape[1])
            image, mask = resize(image, *size), resize_mask(mask, *size)
        return image, mask

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        images: torch.Tensor | None = None
        for place, (image, mask) in enumerate(pool.map(read, range(len(files)))):
            if images is None:  # no list of all of them beside the whole
                images = image.new_empty(len(files), *image.shape)
                labels = mask.new_empty(len(files), *mask.shape)
            if image.shape != images.shape[1:]:
                raise ValueError(
                    f"data: expected images of {images.shape[2]} x {images.shape[3]} pixels, got "
                    f"{image.shape[1]} x {image.shape[2]} for {str(files.paths[place])!r}"
                )
            images[place], labels[place] = image, mask
    assert images is not None, "a part has photographs"
    return ImageSet(images, labels, files.classes)
