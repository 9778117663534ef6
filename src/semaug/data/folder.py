"""Your own photographs, in one folder for each class.

    root/train/cat/1.jpg      root/val/cat/7.jpg
    root/train/dog/2.png      root/val/dog/8.png

The classes are the names of the folders, sorted; files may lie in folders within these. A root
that is one level too high is refused, for its parts would become classes.
"""

import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch

from semaug.data.class_folders import Listing, Part, listed, no_class, note_of, printable
from semaug.data.image_set import DataSet, FileSet
from semaug.data.source import DataSource
from semaug.registry import data_sets

# Of the training images of ImageNet, on a scale of 0 to 1, as everybody rounds them.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

_WORDS = {
    "train": ("train", "training", "trainset", "trn"),
    "test": (
        *("val", "valid", "validation", "validate", "valset", "dev", "eval"),
        *("test", "testing", "tests", "testset", "tst"),
    ),
}
_ROLES = {word: role for role, words in _WORDS.items() for word in words}
_FILLERS = {"data", "dataset", "folder", "image", "images", "img", "imgs", "set", "split"}


@data_sets.register("folder")
@dataclass(frozen=True, kw_only=True)
class Folder(DataSource):
    """Your own photographs, a folder for each class below the data root.

    Args:
        test: Folder of the test images, where there are several, such as ``val`` and ``test``;
            None takes the only one.
    """

    in_files: ClassVar[bool] = True
    is_users_own: ClassVar[bool] = True
    how_to_get: ClassVar[str] = (
        "it is made of your own files: {root}/train/CLASS/*.jpg and {root}/val/CLASS/*.jpg"
    )

    test: str | None = None

    def load(self, root: Path, workers: int | None = None) -> DataSet:
        """Find the images, as :func:`load_folder`."""
        return load_folder(root, test=self.test)

    def check_there(self, root: Path) -> None:
        """Find the images, which decodes none."""
        self.load(root)


def load_folder(root: Path, *, test: str | None = None) -> DataSet:
    """Find the images below a folder.

    Training images lie in ``train``, images to measure the error on in ``val`` or ``test``. These
    parts are known in any case and usual spelling: ``Training``, ``valid``, ``test_set``,
    ``seg_train`` beside ``seg_test``. Without them the classes lie in ``root`` itself, and all
    images are for training. Where there is nothing to test on, ``DataSet.test`` is empty: hold
    some training images out (:func:`semaug.data.splits.hold_out`).

    Args:
        root: The folder.
        test: Folder of the test images, if there are several.

    Returns:
        Two :class:`FileSet`, normalized with the constants of ImageNet; ``notes`` say what is
        passed over.

    Raises:
        FileNotFoundError: If there is no such folder, or no class in it.
        ValueError: If a class is empty or the only one, the parts have different classes, there
            are several folders for a part and none is chosen, the test images are the training
            images, or ``root`` is one level too high; the message names the folder that is meant.
    """
    root = root.expanduser()
    if not root.is_dir():
        raise FileNotFoundError(
            f"data: expected a folder of images, got no folder {str(root)!r}; name the one "
            "that holds train/ and val/, or the classes, with --data-root or SEMAUG_DATA"
        )
    top = Listing.of(root)
    trains, tests = _find_parts(root, [entry.name for entry in top.folders])
    if not trains:
        return _load_classes(root, test)
    if len(trains) > 1:
        raise ValueError(
            f"data: expected one folder of training images in {str(root)!r}, got "
            f"{listed(trains)}; rename those that are not meant"
        )
    if test is None and len(tests) > 1:
        raise ValueError(
            f"data: expected one folder of test images in {str(root)!r}, got "
            f"{listed(tests)}; choose with {' or '.join(f'data.test={name}' for name in tests)}"
        )
    name = test or next(iter(tests), None)
    unused = [entry.name for entry in top.folders if entry.name not in (trains[0], name)]
    top.others.update(f"{printable(other)}/" for other in unused)
    train = Part.of(root / trains[0])
    _check_level(train, is_root=False)
    files, used = train.files(), f"training images in {printable(trains[0])}/"
    if name is None:
        notes = [f"{used}, none to test on, which data.test=FOLDER names"]
        return _make_data_set(files, None, [*notes, note_of(root, top.others), train.note()])
    held = Part.of(root / name)
    if held.folder.samefile(train.folder):
        raise ValueError(
            f"data: expected `test` other than the training images in {str(train.folder)!r}, "
            f"got {name!r}; where there is nothing else to test on, keep some back with hold_out=N"
        )
    notes = [f"{used}, test images in {printable(name)}/", note_of(root, top.others)]
    return _make_data_set(files, held.files(files.classes), [*notes, train.note(), held.note()])


def _find_parts(root: Path, folders: list[str]) -> tuple[list[str], list[str]]:
    """Find folders of training and of test images; none where classes lie in the root itself.

    Raises:
        FileNotFoundError: If there are test images alone, or parts without classes.
    """
    roles = _find_roles(folders)
    # Images alone are no part: of a competition's test images, or of a class called "train".
    flat = {name: inside for name in roles if (inside := _list_if_flat(root / name))}
    trains, tests = (
        [name for name in roles if roles[name] == role and name not in flat]
        for role in ("train", "test")
    )
    if not trains and tests:
        raise FileNotFoundError(
            f"data: expected a folder train/ of classes in {str(root)!r}, got none beside "
            + listed(tests)
        )
    if not trains and flat and (len(flat) == len(folders) or len({*map(roles.get, flat)}) > 1):
        raise no_class(root / next(iter(flat)), next(iter(flat.values())))
    return trains, tests


def _load_classes(root: Path, test: str | None) -> DataSet:
    """Find classes that lie in the root itself."""
    if test is not None:
        raise ValueError(
            f"data: expected train/ beside {test!r} in {str(root)!r}, got no folder for parts"
        )
    part = Part.of(root)
    _check_level(part, is_root=True)
    return _make_data_set(part.files(), None, [part.note(), _note_beside(root.resolve())])


def _note_beside(root: Path) -> str:
    """Say that the root is a folder of training images, with test images beside it."""
    if _find_roles([root.name]) != {root.name: "train"}:
        return ""
    roles = _find_roles(entry.name for entry in Listing.of(root.parent).folders)
    tests = [name for name, role in roles.items() if role == "test"]
    note = f"beside {str(root)!r} lies {listed(tests)}; {_suggest_root(root.parent)}"
    return note if tests else ""


def _make_data_set(train: FileSet, test: FileSet | None, notes: Iterable[str]) -> DataSet:
    test = train.subset(torch.arange(0)) if test is None else test
    told = tuple(filter(None, notes))
    return DataSet("folder", train, test, IMAGENET_MEAN, IMAGENET_STD, notes=told)


def _find_roles(names: Iterable[str]) -> dict[str, str]:
    """Return which folders are called like a part, ``"train"`` or ``"test"``.

    >>> _find_roles(["Train", "val_set", "cat", "test kit"]), _find_roles(["seg_test", "seg_train"])
    ({'Train': 'train', 'val_set': 'test'}, {'seg_test': 'test', 'seg_train': 'train'})
    """
    found = {}
    for name in names:
        words = [word.lower() for word in re.findall("[A-Z]?[a-z]+|[A-Z]+", name)]
        roles = {_ROLES[word] for word in words if word in _ROLES}
        others = [word for word in words if word not in _ROLES and word not in _FILLERS]
        if len(roles) == 1:
            found[name] = roles.pop(), others
    return {
        name: role
        for name, (role, others) in found.items()
        if not others or len({other for other, beside in found.values() if beside == others}) > 1
    }


def _list_if_flat(folder: Path) -> Listing | None:
    """List a folder if it holds images and no folder."""
    inside = Listing.of(folder)
    return inside if inside.images and not inside.folders else None


def _check_level(part: Part, *, is_root: bool) -> None:
    """Refuse a single class, and parts or whole data sets that would become classes.

    Raises:
        ValueError: If it looks so; the message names what is meant.
    """
    deep = [one for one in part.classes.values() if not one.num_direct]
    wholes = [one for one in deep if "train" in _find_roles(one.inside).values()]
    alike: set[str] = set()
    if len(deep) == len(part.classes):
        alike = set.intersection(*(set(one.inside) for one in deep))
    where, wanted = str(part.folder), "two classes or more"
    if wholes:
        got = f"{listed([x.path.name for x in wholes])}, with {listed(wholes[0].inside)} inside"
        remedy = (
            f"{_suggest_root(wholes[0].path)}, or sort what are classes as train/CLASS, val/CLASS"
        )
        wanted = "classes, or train/ and val/,"
    elif len(part.classes) == 1:
        single = next(iter(part.classes.values()))
        fork = _find_fork(single.path) if deep else None
        got = f"one, {single.path.name!r}"
        remedy = "a classifier needs another one"
        if fork:
            got += f", with {listed(single.inside)} inside"
            remedy = (
                _suggest_root(fork) if is_root else f"move what is in {str(fork)!r} up to there"
            )
    elif is_root and len(alike) > 1:
        got = f"{listed(list(part.classes))}, which all have {listed(sorted(alike))} inside"
        remedy = f"{_suggest_root(deep[0].path)}, or move what are classes into a folder train/"
        wanted = "classes with images"
    else:
        return
    raise ValueError(f"data: expected {wanted} in {where!r}, got {got}; {remedy}")


def _find_fork(folder: Path) -> Path | None:
    """Return the first folder from here on that holds several; None if there is none."""
    inside = Listing.of(folder)
    while len(inside.folders) == 1 and not inside.images:
        folder = folder / inside.folders[0].name
        inside = Listing.of(folder)
    return folder if len(inside.folders) > 1 else None


def _suggest_root(folder: Path) -> str:
    return f"if that is meant, name it with --data-root {shlex.quote(str(folder))}"
