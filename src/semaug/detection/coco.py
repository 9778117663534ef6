"""Images whose objects a JSON file in the format of COCO describes, and COCO itself.

    root/coco/annotations/instances_train2017.json    root/coco/train2017/000000000009.jpg
    root/coco/annotations/instances_val2017.json      root/coco/val2017/000000000139.jpg

Source: Lin et al., 2014, https://arxiv.org/abs/1405.0312; the format is described at
https://cocodataset.org/#format-data
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any, ClassVar

import torch

from semaug.data.class_folders import listed
from semaug.data.folder import IMAGENET_MEAN, IMAGENET_STD
from semaug.data.source import DataSource
from semaug.detection.scenes import Scene, SceneData, SceneObject, Scenes
from semaug.registry import data_sets
from semaug.runs.words import counted

__all__ = ["COCO", "COCOJson", "read_coco"]

_SLACK = 2  # pixels by which a box may leave its image and still be one
_ROUNDED = 0.1  # share of boxes that leave their images by more
_MOST = 5  # numbers that are named
_KEYS = {
    "images": ("id", "file_name", "height", "width"),
    "annotations": ("image_id", "category_id", "bbox"),
    "categories": ("id", "name"),
}


@data_sets.register("coco")
@dataclass(frozen=True, kw_only=True)
class COCO(DataSource):
    """COCO 2017: 118,287 images to train on and 5,000 to test on, 80 classes of objects."""

    num_classes: ClassVar[int] = 80
    in_files: ClassVar[bool] = True
    how_to_get: ClassVar[str] = (
        "unpack train2017.zip, val2017.zip and annotations_trainval2017.zip of "
        "https://cocodataset.org/#download into {root}/coco"
    )

    def load(self, root: Path, workers: int | None = None) -> SceneData:
        """Read both files of annotations, in ``root`` or in ``coco`` of it.

        Raises:
            FileNotFoundError: If a folder or an image is missing.
            ValueError: If a file is damaged.
        """
        place = self._find(root)
        train, test = (
            read_coco(place / "annotations" / f"instances_{part}2017.json", place / f"{part}2017")
            for part in ("train", "val")
        )
        return _together("coco", train, test)

    def check_there(self, root: Path) -> None:
        """Find the folders."""
        self._find(root)

    def _find(self, root: Path) -> Path:
        wanted = ["train2017", "val2017"]
        wanted += [f"annotations/instances_{part}.json" for part in wanted]
        for place in (root / "coco", root / "COCO", root):
            if all((place / name).exists() for name in wanted):
                return place
        raise FileNotFoundError(
            f"data: expected {', '.join(wanted)} in {str(root / 'coco')!r}, got not all of them; "
            f"{self.how_to_get.format(root=root)}, or name the folder that holds them with "
            "--data-root"
        )


@data_sets.register("coco_json")
@dataclass(frozen=True, kw_only=True)
class COCOJson(DataSource):
    """Your own photographs with boxes in JSON as of COCO.

    Args:
        train: File of the images to train on, below the data root; None looks for usual names,
            such as ``train/_annotations.coco.json`` and ``annotations/instances_train.json``.
        test: File of the images to test on; None looks for ``val``, ``valid`` and ``test``.
        train_folder: Folder that names of images in ``train`` are relative to; None looks for it.
        test_folder: Folder of the images to test on, likewise.
    """

    in_files: ClassVar[bool] = True
    is_users_own: ClassVar[bool] = True
    how_to_get: ClassVar[str] = (
        "it is made of your own files: {root}/annotations/instances_train.json and "
        "{root}/images/*.jpg, and instances_val.json"
    )

    train: str | None = None
    test: str | None = None
    train_folder: str | None = None
    test_folder: str | None = None

    def load(self, root: Path, workers: int | None = None) -> SceneData:
        """Read the files of annotations.

        Raises:
            FileNotFoundError: If there is no file to train on, or images are missing.
            ValueError: If a file is no such JSON, boxes are corners, a number is unknown, or the
                classes to train and to test on differ.
        """
        train = read_coco(*self._find(root, self.train, self.train_folder, "train", "training"))
        try:
            found = self._find(
                root, self.test, self.test_folder, "val", "valid", "validation", "test"
            )
        except FileNotFoundError:
            if self.test:
                raise
            return _together("coco_json", train, train.subset(torch.arange(0)))
        return _together("coco_json", train, read_coco(*found))

    def check_there(self, root: Path) -> None:
        """Find the file of annotations to train on."""
        self._find(root, self.train, self.train_folder, "train", "training")

    def _find(
        self, root: Path, name: str | None, images: str | None, *parts: str
    ) -> tuple[Path, Path]:
        """Return the file of annotations of a part and the folder of its images."""
        usual = (
            "{}/_annotations.coco.json",
            "annotations/instances_{}.json",
            "annotations/instances_{}2017.json",
            "annotations/{}.json",
            "{}/annotations.json",
            "{}.json",
        )
        names = [name] if name else [one.format(part) for part in parts for one in usual]
        file = next((root / one for one in names if (root / one).is_file()), None)
        if file is None:
            raise FileNotFoundError(
                f"data: expected annotations in COCO's format in {str(root)!r}, got no file "
                f"{', '.join(names[:3])} or the like; name it with data.{parts[0]}=FILE, "
                "and the folder that holds it with --data-root"
                if not name
                else f"data: expected a file of annotations {str(root / name)!r}, got none"
            )
        places = ("images/{}", "{}/images", "{}", "images/{}2017", "{}2017")
        folders = [root / one.format(part) for part in parts for one in places]
        folders += [root / "images", file.parent, root]
        return file, root / images if images else _folder_of(_parse(file), folders)


def _folder_of(document: dict[str, Any], folders: Sequence[Path]) -> Path:
    """Return the first folder that holds the first image, or else the last but one that exists."""
    first = next((str(one["file_name"]) for one in document["images"]), "")
    there = [folder for folder in folders if folder.is_dir()]
    return next((folder for folder in there if (folder / first).is_file()), there[0])


def _together(name: str, train: Scenes, test: Scenes) -> SceneData:
    if train.classes != test.classes:
        differ = listed(
            [
                x
                for x in (*train.classes, *test.classes)
                if (x in train.classes) != (x in test.classes)
            ]
        )
        raise ValueError(
            "data: expected equal classes, in the order of their numbers, to train and to test on, "
            f"got others: {differ or 'another order'}"
        )
    notes = [
        f"{part}: {note}"
        for part, scenes in (("train", train), ("test", test))
        for note in scenes.notes
    ]
    return SceneData(name, train, test, IMAGENET_MEAN, IMAGENET_STD, tuple(notes))


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
    document = _parse(path)
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


def _parse(path: Path) -> dict[str, Any]:
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
            f"{list(found[first][:4])} of {found[first][4]} x {found[first][5]} pixels, and as corners "
            "all lie inside; write x2 - x1 and y2 - y1"
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
