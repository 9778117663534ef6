"""Your own photographs, each with a mask that says the class of every pixel.

    root/images/1.jpg         root/masks/1.png         root/classes.txt
    root/train/images/1.jpg   root/train/masks/1.png   with parts: train, and val or test

A mask is a PNG of the size and the name of its photograph. A pixel is the number of its class, 255
is no class. Lines of ``classes.txt`` name the classes, in the order of their numbers.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import torch

from semaug.data.class_folders import ClassFolder, listed, note_of
from semaug.data.folder import IMAGENET_MEAN, IMAGENET_STD
from semaug.data.image_set import IGNORED, DataSet, FilePaths, FileSet, MaskFiles
from semaug.data.pairs import find_pairs, numbers_in, read_classes
from semaug.data.source import DataSource
from semaug.errors import check_option
from semaug.registry import data_sets

_NAMES = "classes.txt"
_TESTS = ("val", "test")


@data_sets.register("masks")
@dataclass(frozen=True, kw_only=True)
class Masks(DataSource):
    """Your own photographs and masks of the same names, below the data root.

    Args:
        images: Name of the folders of photographs.
        masks: Name of the folders of masks.
        ids: Number of each class in the masks, in the order of ``classes.txt``; empty is 0, 1, 2
            and so on or, without that file, all that the training masks hold.
        test: Part to test on, where there are ``val`` and ``test``; None takes the only one.

    Raises:
        UserError: If ids are not different numbers from 0 to 255.
    """

    in_files: ClassVar[bool] = True
    is_users_own: ClassVar[bool] = True
    how_to_get: ClassVar[str] = (
        "it is made of your own files: {root}/train/images/*.jpg and {root}/train/masks/*.png, and "
        "the same in {root}/val"
    )

    images: str = "images"
    masks: str = "masks"
    ids: tuple[int, ...] = ()
    test: str | None = None

    def __post_init__(self) -> None:
        inside = len({*self.ids} & {*range(256)}) == len(self.ids)
        check_option("ids", self.ids, inside, "of different numbers from 0 to 255")

    def load(self, root: Path, workers: int | None = None) -> DataSet:
        """Find the files and, without ``classes.txt``, the numbers in the training masks.

        Raises:
            FileNotFoundError: If there is no such folder, or no photograph in it.
            ValueError: If a photograph has no mask or several, a mask no photograph, there are two
                parts to test on and none is chosen, or names and numbers of classes do not fit.
        """
        train = self._folders(root, "train") or self._folders(root, "")
        if train is None:
            raise FileNotFoundError(
                f"data: expected folders {self.images}/ and {self.masks}/ in {str(root)!r}, or in "
                "train/ of it, got none; name the folder that holds them with --data-root"
            )
        pairs = find_pairs(*train)
        names, colors, no_class = read_classes(root / _NAMES)
        ids = self.ids or tuple(range(len(names))) or numbers_in(pairs[1])
        notes = [note_of(folder, ClassFolder.of(folder, ".").others) for folder in train]
        if not names:
            names = tuple(map(str, ids))
            notes.append(f"classes are numbers in the training masks; {_NAMES} may name them")
        if len(names) != len(ids) or len(names) < 2:
            raise ValueError(
                f"data: expected two classes or more and a number for each in {str(root)!r}, got "
                f"{listed(names) or 'none'} and {', '.join(map(str, ids)) or 'none'}; 255 in a "
                "mask is no class, unless it is one of data.ids, such as data.ids=0,255"
            )
        by_color = dict(zip(colors, range(len(names)), strict=False))
        by_color |= {} if no_class is None else {no_class: IGNORED}
        tests = [part for part in _TESTS if self._folders(root, part)]
        chosen = [self.test] if self.test else tests
        if len(chosen) > 1 or not {*chosen} <= {*tests}:
            raise ValueError(
                f"data: expected one part to test on in {str(root)!r}, got {listed(chosen)} of "
                f"{listed(tests) or 'none'}; choose with data.test=val or data.test=test"
            )

        def made(pairs: tuple[FilePaths, FilePaths]) -> FileSet:
            masks = MaskFiles.of(pairs[1], ids)
            return FileSet.with_masks(pairs[0], replace(masks, colors=by_color or None), names)

        trained = made(pairs)
        tested = trained.subset(torch.arange(0))
        for part in chosen:
            if folders := self._folders(root, part):
                tested = made(find_pairs(*folders))
        return DataSet(
            "masks",
            trained,
            tested,
            IMAGENET_MEAN,
            IMAGENET_STD,
            notes=tuple(filter(None, notes)),
            colors=colors or None,
            ids=ids,
        )

    def check_there(self, root: Path) -> None:
        """Find the files."""
        self.load(root)

    def _folders(self, root: Path, part: str) -> tuple[Path, Path] | None:
        """Return the folders of photographs and masks of a part, if it is there."""
        names = self.images, self.masks
        for found in ([root / part / x for x in names], [root / x / part for x in names]):
            if all(folder.is_dir() for folder in found):
                return found[0], found[1]
        return None
