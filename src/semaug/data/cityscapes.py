"""Cityscapes: 5,000 photographs of streets in 50 cities, 1024 x 2048 pixels, 19 classes.

    root/leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png
    root/gtFine/train/aachen/aachen_000000_000019_gtFine_labelIds.png, and so val

Masks hold ids from 0 to 33, of which 19 are classes; all others count as no class. The official
test part has no public masks, so everybody reports numbers on ``val``.

Source: Cordts et al., CVPR 2016, https://arxiv.org/abs/1604.01685
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from semaug.data.folder import IMAGENET_MEAN, IMAGENET_STD
from semaug.data.image_set import IGNORED, DataSet, FileSet, MaskFiles
from semaug.data.pairs import find_pairs
from semaug.data.source import DataSource
from semaug.registry import data_sets

# Id in masks and color in pictures, in the order of the classes, which is that of train ids.
CLASSES = {
    "road": (7, (128, 64, 128)),
    "sidewalk": (8, (244, 35, 232)),
    "building": (11, (70, 70, 70)),
    "wall": (12, (102, 102, 156)),
    "fence": (13, (190, 153, 153)),
    "pole": (17, (153, 153, 153)),
    "traffic light": (19, (250, 170, 30)),
    "traffic sign": (20, (220, 220, 0)),
    "vegetation": (21, (107, 142, 35)),
    "terrain": (22, (152, 251, 152)),
    "sky": (23, (70, 130, 180)),
    "person": (24, (220, 20, 60)),
    "rider": (25, (255, 0, 0)),
    "car": (26, (0, 0, 142)),
    "truck": (27, (0, 0, 70)),
    "bus": (28, (0, 60, 100)),
    "train": (31, (0, 80, 100)),
    "motorcycle": (32, (0, 0, 230)),
    "bicycle": (33, (119, 11, 32)),
}
_OFFICIAL = {"train": 2_975, "val": 500}
_ENDINGS = "_leftImg8bit", "_gtFine_labelIds"


@data_sets.register("cityscapes")
@dataclass(frozen=True, kw_only=True)
class Cityscapes(DataSource):
    """2,975 and 500 photographs of streets, 1024 x 2048 pixels, with masks of 19 classes."""

    num_classes: ClassVar[int] = len(CLASSES)
    in_files: ClassVar[bool] = True
    how_to_get: ClassVar[str] = (
        "register at https://www.cityscapes-dataset.com, and unpack leftImg8bit_trainvaltest.zip "
        "and gtFine_trainvaltest.zip in {root}, or name the folder that holds them with --data-root"
    )

    def load(self, root: Path, workers: int | None = None) -> DataSet:
        """Find the files of ``train`` and ``val``, in ``root`` or in ``root/cityscapes``.

        Raises:
            FileNotFoundError: If a folder is missing; the message says how to get it.
            ValueError: If a photograph has no mask, or a mask no photograph.
        """
        inside = root / "cityscapes"
        root = inside if inside.is_dir() else root
        ids, colors = zip(*CLASSES.values(), strict=True)
        parts, notes = {}, []
        for part, official in _OFFICIAL.items():
            folders = root / "leftImg8bit" / part, root / "gtFine" / part
            if missing := [str(folder) for folder in folders if not folder.is_dir()]:
                raise FileNotFoundError(
                    f"data: expected cityscapes under {str(root)!r}, got no folder {missing[0]!r}; "
                    + self.how_to_get.format(root=root)
                )
            images, masks = find_pairs(*folders, _ENDINGS)
            found = MaskFiles.of(masks, ids, others=IGNORED)
            parts[part] = FileSet.with_masks(images, found, tuple(CLASSES))
            if len(images) != official:
                notes.append(f"{len(images):,} of {official:,} official images of {part}")
        return DataSet(
            "cityscapes",
            parts["train"],
            parts["val"],
            IMAGENET_MEAN,
            IMAGENET_STD,
            notes=tuple(notes),
            colors=colors,
            ids=ids,
        )

    def check_there(self, root: Path) -> None:
        """Find the files."""
        self.load(root)
