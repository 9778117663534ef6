"""Images in one folder for each class, as torchvision's ``ImageFolder`` reads them.

    root/train/cat/1.jpg      root/val/cat/7.jpg
    root/train/dog/2.png      root/val/dog/8.png

The classes are the names of the folders, sorted; files may lie in folders within these.
Nothing is decoded here. Unlike torchvision, files and folders whose name begins with a dot are
passed over: they are what editors and other systems leave behind.
"""

import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import ClassVar

import torch

from semaug.data.errors import WHAT_TO_DO
from semaug.data.image_set import DataSet, FilePaths, FileSet
from semaug.data.source import DataSource
from semaug.registry import data_sets

IMAGE_EXTENSIONS = (
    ".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp",
)  # fmt: skip

# Of the training images of ImageNet, on a scale of 0 to 1, as everybody rounds them.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

_TRAIN = "train"
_TESTS = ("val", "validation", "test")


@data_sets.register("folder")
class Folder(DataSource):
    """Your own photographs, a folder for each class below the data root."""

    in_files: ClassVar[bool] = True
    is_users_own: ClassVar[bool] = True
    how_to_get: ClassVar[str] = (
        "it is made of your own files: {root}/train/CLASS/*.jpg and {root}/val/CLASS/*.jpg"
    )

    def load(self, root: Path, workers: int | None = None) -> DataSet:
        """Find the images, as :func:`load_folder`."""
        return load_folder(root)

    def check_there(self, root: Path) -> None:
        """Find the images, which decodes none."""
        load_folder(root)


def load_folder(root: Path, *, test: str | None = None) -> DataSet:
    """Find the images below a folder.

    Training images lie in ``train``, images to measure the error on in ``val``, ``validation``
    or ``test``. Without these folders, the classes lie in ``root`` itself, and all images are
    for training. Where there is nothing to test on, ``DataSet.test`` is empty: hold some
    training images out (:func:`semaug.data.splits.hold_out`).

    Args:
        root: The folder.
        test: Folder of the test images, if there are several.

    Returns:
        Two :class:`FileSet`, normalized with the constants of ImageNet.

    Raises:
        FileNotFoundError: If there is no such folder, or no class in it.
        ValueError: If a class is empty, the parts have different classes, or there are several
            folders to test on and none is chosen.
    """
    if not root.is_dir():
        raise FileNotFoundError(
            f"load_data: expected a folder of images, got no folder {str(root)!r}; name the one "
            "that holds train/ and val/ with --data-root or SEMAUG_DATA"
        )
    parts = _folders_in(root)
    found = [name for name in _TESTS if name in parts]
    if found and _TRAIN not in parts:
        raise FileNotFoundError(
            f"load_data: expected training images in {str(root / _TRAIN)!r}, got no such "
            f"folder beside {', '.join(found)}"
        )
    train = find_images(root / _TRAIN if _TRAIN in parts else root)
    if test is None and len(found) > 1:
        raise ValueError(
            f"load_data: expected one folder to test on in {str(root)!r}, got "
            f"{' and '.join(found)}; choose with load_folder(root, test={found[0]!r}), or give a "
            f"folder with links to train and to the one that is meant"
        )
    name = (test or next(iter(found), None)) if _TRAIN in parts else None
    held = find_images(root / name, train.classes) if name else train.subset(torch.arange(0))
    return DataSet("folder", train, held, IMAGENET_MEAN, IMAGENET_STD)


def find_classes(folder: Path, passed_over: Collection[str] = ()) -> list[str]:
    """Return the names of the folders of classes, sorted.

    Raises:
        FileNotFoundError: If there is no such folder, or no class in it.
    """
    found = sorted(_folders_in(folder).difference(passed_over))
    if not found:
        count = sum(_is_image(path.name) for path in folder.iterdir())
        raise FileNotFoundError(
            f"load_data: expected one folder for each class in {str(folder)!r}, got "
            + (f"{count:,} images directly in it" if count else "none")
        )
    return found


def find_images(
    folder: Path, classes: Sequence[str] | None = None, *, passed_over: Collection[str] = ()
) -> FileSet:
    """Find the images of one part of a data set, and their classes.

    Args:
        folder: With a folder for each class.
        classes: Names that must be found, no more and no less; None takes those there are.
        passed_over: Names of folders that are no classes.

    Returns:
        Files sorted by class, then by folder, then by name, as torchvision sorts them.

    Raises:
        FileNotFoundError: If there is no such folder, or no class in it.
        ValueError: If a class is empty, or classes are missing or too many.
    """
    found = find_classes(folder, passed_over)
    _check_same_classes(folder, found, found if classes is None else classes)
    images = {name: _images_below(folder, name) for name in found}
    if empty := [name for name in found if not images[name]]:
        # The classes of other parts are those of the training images.
        remedy = "; add some, or remove the folder" if classes is None else "; add some"
        raise ValueError(
            f"load_data: expected images ({', '.join(IMAGE_EXTENSIONS)}) of every class in "
            f"{str(folder)!r}, got none of {_listed(empty)}{remedy}"
        )
    counts = torch.tensor([len(own) for own in images.values()])
    names = chain.from_iterable(images.values())
    labels = torch.arange(len(found)).repeat_interleave(counts)
    return FileSet(FilePaths.of(folder, names), labels, tuple(found))


def check_counts(folder: Path, images: FileSet, num_images: int, num_classes: int) -> None:
    """Check that all images of a well-known set are there.

    Raises:
        ValueError: If images or classes are missing or too many.
    """
    if (len(images), len(images.classes)) != (num_images, num_classes):
        raise ValueError(
            f"load_data: expected {num_images:,} images of {num_classes:,} classes in "
            f"{str(folder)!r}, got {len(images):,} of {len(images.classes):,}"
        )


@contextmanager
def explained(remedy: str, *kinds: type[Exception]) -> Iterator[None]:
    """Add to the message of errors what mends them."""
    try:
        yield
    except kinds as error:
        raise type(error)(f"{str(error).removesuffix(WHAT_TO_DO)}; {remedy}") from error


def _folders_in(folder: Path) -> set[str]:
    if not folder.is_dir():
        raise FileNotFoundError(
            f"load_data: expected images in {str(folder)!r}, got no such folder"
        )
    with os.scandir(folder) as entries:
        return {x.name for x in entries if not x.name.startswith(".") and x.is_dir()}


def _images_below(folder: Path, name: str) -> list[str]:
    """Return the paths, relative to ``folder``, of all images in its folder ``name``."""
    begin = len(os.path.join(folder, ""))  # noqa: PTH118, a million paths are strings here
    found = []
    for parent, folders, files in os.walk(folder / name, onerror=_fail, followlinks=True):
        folders[:] = [x for x in folders if not x.startswith(".")]
        found += [(parent[begin:], file) for file in files if _is_image(file)]
    return [f"{parent}{os.sep}{file}" for parent, file in sorted(found)]


def _is_image(name: str) -> bool:
    return name.lower().endswith(IMAGE_EXTENSIONS) and not name.startswith(".")


def _fail(error: OSError) -> None:
    """Raise what ``os.walk`` would pass over in silence."""
    raise error


def _check_same_classes(folder: Path, found: Sequence[str], wanted: Sequence[str]) -> None:
    missing, extra = set(wanted) - set(found), set(found) - set(wanted)
    sides = (("no", sorted(missing)), ("also", sorted(extra)))
    if problems := [f"{word} {_listed(names)}" for word, names in sides if names]:
        raise ValueError(
            f"load_data: expected the {len(wanted)} classes of the training images in "
            f"{str(folder)!r}, got {' and '.join(problems)}"
        )


def _listed(names: Sequence[str]) -> str:
    """Name a few, and say how many more there are."""
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(repr(name) for name in names[:5]) + more
