"""Images in one folder for each class: finding them, and counting what is passed over.

The order is that of torchvision's ``ImageFolder``. Nothing is decoded. A link to a folder is
followed unless it leads to what is seen anyway, so no image counts twice and no circle is endless.
"""

import os
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from itertools import chain
from operator import attrgetter
from pathlib import Path
from typing import Self

import torch
from PIL import Image

from semaug.data.errors import WHAT_TO_DO
from semaug.data.formats import known_formats
from semaug.data.image_set import FilePaths, FileSet

_FOLDER, _IMAGE = "folder", "image"
_OF_SYSTEMS = {"__macosx", "@eadir", "#recycle", "$recycle.bin", "lost+found", "__pycache__"}
_OF_SYSTEMS |= {"thumbs.db", "ehthumbs.db", "desktop.ini"}
_BESIDE_RECIPES = {"cluster", "compare", "features", "search"}  # in a folder of runs
_MOST_NAMED = 5
_MOST_KINDS = 10


def add_plugins() -> None:
    """Let Pillow decode HEIC, the format of many telephones, if pillow-heif is installed."""
    with suppress(ImportError):
        from pillow_heif import register_heif_opener

        register_heif_opener()


add_plugins()


@cache
def image_extensions() -> frozenset[str]:
    """Return the endings of files that the installed Pillow decodes without other programs."""
    known, formats = Image.registered_extensions(), {*known_formats(), "MPO"}  # opens as a JPEG
    return frozenset(ending for ending, kind in known.items() if kind in formats)


@dataclass
class Listing:
    """What lies directly in a folder.

    Args:
        images: Names of files, sorted.
        folders: Sorted by name, without hidden folders and those of systems.
        others: How many there are of what is passed over: by ending, hidden folders by name.
    """

    images: list[str] = field(default_factory=list)
    folders: list[os.DirEntry[str]] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, folder: str | Path) -> Self:
        """List a folder.

        Raises:
            FileNotFoundError: If there is no such folder.
        """
        try:
            entries = os.scandir(folder)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise FileNotFoundError(
                f"data: expected images in {str(folder)!r}, got no such folder"
            ) from error
        found = cls()
        with entries:
            for entry in sorted(entries, key=attrgetter("name")):
                kind = _kind_of_entry(entry)
                if kind == _IMAGE:
                    found.images.append(entry.name)
                elif kind == _FOLDER:
                    found.folders.append(entry)
                else:
                    found.others[kind] += 1
        return found


@dataclass
class ClassFolder:
    """What lies below the folder of a class.

    Args:
        path: The folder.
        images: Paths relative to the folder of the part, sorted by folder, then by name.
        num_direct: How many of these lie directly in the folder of the class.
        inside: Names of the folders directly in it.
        others: As in :class:`Listing`, of all folders below.
    """

    path: Path
    images: list[str]
    num_direct: int
    inside: list[str]
    others: Counter[str]

    @classmethod
    def of(cls, part: Path, name: str) -> Self:
        """Look at all that lies in the folder ``name`` of the folder ``part``."""
        found, waiting = cls(part / name, [], 0, [], Counter()), [name]
        images: list[tuple[str, str]] = []
        seen = [os.path.realpath(place) for place in (part, found.path)]
        while waiting:
            here = waiting.pop()
            listing = Listing.of(os.path.join(part, here))  # noqa: PTH118
            images += [(here, image) for image in listing.images]
            found.others += listing.others
            if here == name:
                found.num_direct = len(listing.images)
                found.inside = [entry.name for entry in listing.folders]
            for entry in listing.folders:
                if entry.is_symlink():
                    target = os.path.realpath(entry.path)
                    if any(os.path.commonpath([target, x]) in (target, x) for x in seen):
                        found.others["links to folders that are seen anyway"] += 1
                        continue
                    seen.append(target)
                waiting.append(f"{here}{os.sep}{entry.name}")
        found.images = [f"{parent}{os.sep}{image}" for parent, image in sorted(images)]
        return found


@dataclass
class Part:
    """One part of a data set: the folders of its classes, by name and sorted.

    Args:
        folder: Holds them.
        classes: What lies below each.
        others: How many there are of what is passed over, by its kind.
    """

    folder: Path
    classes: dict[str, ClassFolder]
    others: Counter[str]

    @classmethod
    def of(cls, folder: Path, passed_over: Collection[str] = ()) -> Self:
        """Look at a folder that holds one for each class.

        Args:
            folder: The folder.
            passed_over: Names of folders that are no classes. Folders of runs are none either, nor
                is ``runs`` without images.

        Raises:
            FileNotFoundError: If there is no such folder, or no class in it.
        """
        listing = Listing.of(folder)
        names = _list_classes(folder, listing, passed_over)
        found = {name: ClassFolder.of(folder, name) for name in names}
        deep = [name for name, one in found.items() if not one.num_direct]
        of_runs = {name for name in deep if _holds_runs(folder / name, "*/seed*")}
        if recipes := {name for name in deep if _holds_runs(folder / name, "seed*")}:
            of_runs |= recipes | (_BESIDE_RECIPES & {*deep})
        if "runs" in found and not found["runs"].images:  # of runs that never began
            of_runs.add("runs")
        classes = {printable(name): one for name, one in found.items() if name not in of_runs}
        part = cls(folder, classes, sum((one.others for one in classes.values()), listing.others))
        part.others.update(f"{printable(name)}/" for name in of_runs)
        if not part.classes:
            raise no_class(folder, listing)
        part.others += Counter({"images in no class": len(listing.images)})
        return part

    def files(self, classes: Sequence[str] | None = None) -> FileSet:
        """Return the images, sorted by class, then by folder, then by name.

        Args:
            classes: Names that must be found, no more and no less; None takes those there are.

        Raises:
            ValueError: If a class is empty, or classes are missing or too many.
        """
        _check_same_classes(self.folder, self.classes, self.classes if classes is None else classes)
        if empty := [name for name, found in self.classes.items() if not found.images]:
            # The classes of other parts are those of the training images.
            remedy = "; add some, or remove the folder" if classes is None else "; add some"
            there = sum((self.classes[name].others for name in empty), Counter[str]())
            beside = f", but {_list_kinds(there)}" if there else ""
            raise ValueError(
                f"data: expected images of every class in {str(self.folder)!r}, got none of "
                f"{listed(empty)}{beside}{remedy}"
            )
        images = [found.images for found in self.classes.values()]
        labels = torch.arange(len(images)).repeat_interleave(torch.tensor([*map(len, images)]))
        return FileSet(
            FilePaths.of(self.folder, chain.from_iterable(images)), labels, tuple(self.classes)
        )

    def note(self) -> str:
        """Say what is passed over, "" if nothing is."""
        return note_of(self.folder, self.others)


def note_of(folder: Path, others: Counter[str]) -> str:
    """Say what is passed over in a folder, "" if nothing is."""
    if not others:
        return ""
    remedy = ""
    if any(kind.startswith(".") and not kind.endswith("/") for kind in others):
        remedy = "; Pillow decodes no such files, so convert photographs among them"
    if others.keys() & {".heic", ".heif"}:
        remedy = "; Pillow decodes HEIC after: pip install pillow-heif"
    return f"passed over in {str(folder)!r}: {_list_kinds(others)}{remedy}"


def find_classes(folder: Path, passed_over: Collection[str] = ()) -> list[str]:
    """Return the names of the folders of classes, sorted.

    Raises:
        FileNotFoundError: If there is no such folder, or no class in it.
    """
    return _list_classes(folder, Listing.of(folder), passed_over)


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
    return Part.of(folder, passed_over).files(classes)


def check_counts(folder: Path, images: FileSet, num_images: int, num_classes: int) -> None:
    """Check that all images of a well-known set are there.

    Raises:
        ValueError: If images or classes are missing or too many.
    """
    if (len(images), len(images.classes)) != (num_images, num_classes):
        raise ValueError(
            f"data: expected {num_images:,} images of {num_classes:,} classes in "
            f"{str(folder)!r}, got {len(images):,} of {len(images.classes):,}"
        )


@contextmanager
def explained(remedy: str, *kinds: type[Exception]) -> Iterator[None]:
    """Add to the message of errors what mends them."""
    try:
        yield
    except kinds as error:
        raise type(error)(f"{str(error).removesuffix(WHAT_TO_DO)}; {remedy}") from error


def printable(name: str) -> str:
    r"""Write bytes of a name that are no UTF-8 in digits, so that every file and screen takes it.

    >>> print(printable("café"), printable(os.fsdecode(b"caf\xe9")))
    café caf\xe9
    """
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def no_class(folder: Path, listing: Listing) -> FileNotFoundError:
    """Build the error for a folder without a class."""
    count = len(listing.images)
    return FileNotFoundError(
        f"data: expected one folder for each class in {str(folder)!r}, got "
        + (f"{count:,} image{'s' * (count > 1)} directly in it" if count else "none")
    )


def listed(names: Sequence[str]) -> str:
    """Name a few, and say how many more there are."""
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(f"'{name}'" for name in names[:_MOST_NAMED]) + more


def _kind_of_entry(entry: os.DirEntry[str]) -> str:
    """Tell an image or a folder, or say in words what else it is."""
    try:
        is_folder = entry.is_dir()
        is_file = not is_folder and entry.is_file()
    except OSError:  # a link to itself
        is_folder = is_file = False
    if entry.name.startswith(".") or entry.name.lower() in _OF_SYSTEMS:  # also of files
        return f"{printable(entry.name)}/" if is_folder else "hidden files"
    if is_folder:
        return _FOLDER
    if not is_file:
        return "links to nothing" if entry.is_symlink() else "pipes or sockets"
    ending = os.path.splitext(entry.name)[1].lower()  # noqa: PTH122
    return _IMAGE if ending in image_extensions() else printable(ending) or "without ending"


def _list_classes(folder: Path, listing: Listing, passed_over: Collection[str]) -> list[str]:
    names = [entry.name for entry in listing.folders if entry.name not in passed_over]
    if not names:
        raise no_class(folder, listing)
    return names


def _holds_runs(folder: Path, where: str) -> bool:
    """Tell whether there are folders of runs, such as ``seed0``, at a place in a folder."""
    files = ("recipe.json", "lock", "log.txt")
    return any((seed / name).exists() for seed in folder.glob(where) for name in files)


def _list_kinds(others: Counter[str]) -> str:
    kinds = [f"{kind} ({count:,})" for kind, count in others.most_common(_MOST_KINDS)]
    more = f" and {len(others) - _MOST_KINDS} other kinds" if len(others) > _MOST_KINDS else ""
    return ", ".join(kinds).replace("/ (1)", "/") + more


def _check_same_classes(folder: Path, found: Collection[str], wanted: Collection[str]) -> None:
    missing, extra = set(wanted) - set(found), set(found) - set(wanted)
    sides = (("no", sorted(missing)), ("also", sorted(extra)))
    if problems := [f"{word} {listed(names)}" for word, names in sides if names]:
        raise ValueError(
            f"data: expected the {len(wanted)} classes of the training images in "
            f"{str(folder)!r}, got {' and '.join(problems)}"
        )
