"""Images whose objects a JSON file in the format of COCO describes, and COCO itself.

    root/coco/annotations/instances_train2017.json    root/coco/train2017/000000000009.jpg
    root/coco/annotations/instances_val2017.json      root/coco/val2017/000000000139.jpg

Source: Lin et al., 2014, https://arxiv.org/abs/1405.0312
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch

from semaug.data.class_folders import listed
from semaug.data.folder import IMAGENET_MEAN, IMAGENET_STD
from semaug.data.source import DataSource
from semaug.detection.coco_file import parse_coco, read_coco
from semaug.detection.scenes import SceneData, Scenes
from semaug.registry import data_sets

__all__ = ["COCO", "COCOJson"]


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
        return file, root / images if images else _folder_of(parse_coco(file), folders)


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
