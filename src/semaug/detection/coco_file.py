"""The JSON file of COCO that describes objects in images, and what is often wrong with one.

The format is described at https://cocodataset.org/#format-data
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

import torch

from semaug.data.class_folders import listed
from semaug.detection.scenes import Scene, SceneObject, Scenes
from semaug.runs.words import counted

__all__ = ["parse_coco", "read_coco"]

_SLACK = 2  # pixels by which a box may leave its image and still be one
_ROUNDED = 0.1  # share of boxes that leave their images by more
_MOST = 5  # numbers that are named
_KEYS = {
    "images": ("id", "file_name", "height", "width"),
    "annotations": ("image_id", "category_id", "bbox"),
    "categories": ("id", "name"),
}


def read_coco(path: Path, images: Path) -> Scenes:
    """Read a file of annotations in the format of COCO, and look for all images.

    Classes are the categories in the order of their numbers. Boxes of crowds are kept.

    Args:
        path: Of the JSON file.
        images: Folder that the names of images are relative to.

    Raises:
        FileNotFoundError: If an image is missing.
        ValueError: If the file is no such JSON, boxes are corners in place of width and height, a
            number is unknown or given twice; each line of the message is one problem.
    """
    document = parse_coco(path)
    if problems := [*_wrong_numbers(document), *_corners(document)]:
        raise ValueError("\n".join(f"data: {str(path)!r}: {problem}" for problem in problems))
    if absent := _absent(images, [str(one["file_name"]) for one in document["images"]]):
        raise FileNotFoundError(
            f"data: expected {counted(len(document['images']), 'image')} of {str(path)!r} in "
            f"{str(images)!r}, got no file for {listed(absent)}"
        )
    categories = sorted(document["categories"], key=lambda one: one["id"])
    classes = {one["id"]: k for k, one in enumerate(categories)}
    objects: dict[Any, list[SceneObject]] = {one["id"]: [] for one in document["images"]}
    guessed = 0
    for one in document["annotations"]:
        x, y, w, h = map(float, one["bbox"])
        guessed += "area" not in one
        area, outline = float(one.get("area", w * h)), one.get("segmentation")
        if isinstance(outline, list):  # a polygon has three corners
            outline = [polygon for polygon in outline if len(polygon) >= 6]
        label, is_crowd = classes[one["category_id"]], bool(one.get("iscrowd", 0))
        objects[one["image_id"]].append(SceneObject((x, y, w, h), label, area, is_crowd, outline))
    numbered = all(isinstance(one["id"], int) for one in document["images"])
    scenes = [
        Scene(
            str(one["file_name"]),
            (int(one["height"]), int(one["width"])),
            one["id"] if numbered else k,
            objects[one["id"]],
        )
        for k, one in enumerate(document["images"])
    ]
    notes = [f"{counted(guessed, 'object')} without `area`, which is that of the box"] * (
        guessed > 0
    )
    names = tuple(str(one["name"]) for one in categories)
    return Scenes.of(images, scenes, names, notes=tuple(notes))


def parse_coco(path: Path) -> dict[str, Any]:
    """Read the JSON, and see that its lists hold what is read of them.

    Raises:
        ValueError: If not.
    """
    try:
        document = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"data: {str(path)!r}: expected JSON, got {error}") from error
    for part, keys in _KEYS.items():
        found = document.get(part) if isinstance(document, dict) else None
        if not isinstance(found, list):
            raise ValueError(f"data: {str(path)!r}: expected a list of `{part}`, got none")
        lacking = [
            k
            for k, one in enumerate(found)
            if not isinstance(one, dict) or any(key not in one for key in keys)
        ]
        if lacking:
            raise ValueError(
                f"data: {str(path)!r}: expected {', '.join(keys)} of each of {len(found):,} "
                f"{part}, got {len(lacking):,} without, such as number {lacking[0]}"
            )
    for one in document["annotations"]:
        box = one["bbox"]
        if (
            not isinstance(box, list)
            or len(box) != 4
            or not all(isinstance(x, int | float) and isfinite(x) for x in box)
        ):
            raise ValueError(f"data: {str(path)!r}: expected four numbers as bbox, got {box}")
    return dict(document)


def _wrong_numbers(document: dict[str, Any]) -> Iterable[str]:
    """Name numbers of images and categories that are unknown, or given twice."""
    for part, key, noun in (
        ("images", "image_id", "image"),
        ("categories", "category_id", "category"),
    ):
        counts = Counter(one["id"] for one in document[part])
        if twice := [str(number) for number, n in counts.items() if n > 1]:
            yield f"expected different `id` of {part}, got several {', '.join(twice[:_MOST])}"
        wrong = Counter(x[key] for x in document["annotations"] if x[key] not in counts)
        if wrong:
            yield (
                f"expected `{key}` to be the `id` of one of the {part}, got "
                f"{', '.join(map(str, list(wrong)[:_MOST]))}, which no {noun} has, of "
                + counted(wrong.total(), "object")
            )


def _corners(document: dict[str, Any]) -> Iterable[str]:
    """Tell boxes that are (x1, y1, x2, y2), which leave their images when read as they should be.

    Boxes are taken for corners if more than a tenth of them leaves its image by more than two
    pixels, and as corners all lie inside of theirs.
    """
    sizes = {one["id"]: (one["width"], one["height"]) for one in document["images"]}
    found = [
        (*one["bbox"], *sizes[one["image_id"]])
        for one in document["annotations"]
        if one["image_id"] in sizes
    ]
    if not found:
        return
    x, y, w, h, width, height = torch.tensor(found, dtype=torch.float64).unbind(1)
    outside = (x + w > width + _SLACK) | (y + h > height + _SLACK)
    fits = (w >= x) & (h >= y) & (w <= width + _SLACK) & (h <= height + _SLACK)
    if fits.all() and outside.double().mean() > _ROUNDED:
        first = int(outside.nonzero()[0, 0])
        yield (
            "expected boxes as x, y, width, height, got what looks like corners x1, y1, x2, y2: "
            f"{int(outside.sum()):,} of {len(found):,} leave their images, such as "
            f"{list(found[first][:4])} of {found[first][4]} x {found[first][5]} pixels, and as "
            "corners all lie inside; write x2 - x1 and y2 - y1"
        )


def _absent(images: Path, names: Sequence[str]) -> list[str]:
    """Return the names of files that are not there; looks into each folder once."""
    there: dict[str, set[str]] = {}
    absent = []
    for name in names:
        folder, _, file = name.rpartition("/")
        if folder not in there:
            place = images / folder
            there[folder] = {one.name for one in place.iterdir()} if place.is_dir() else set()
        if file not in there[folder]:
            absent.append(name)
    return absent
