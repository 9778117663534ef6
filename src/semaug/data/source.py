"""What a data set says of itself, how it is read, and its official files.

Official files must be those of the publisher, byte for byte; a message says what mends others.
"""

import hashlib
import shlex
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from io import BufferedReader
from itertools import product
from pathlib import Path
from typing import Any, ClassVar


@dataclass(frozen=True)
class Download:
    """A file of the network.

    Args:
        url: Where it is.
        md5: Official sum.
        provides: Names of the data files in it: what an archive unpacks, or its own name.
    """

    url: str
    md5: str
    provides: tuple[str, ...]

    @property
    def name(self) -> str:
        """Name of the file."""
        return self.url.rpartition("/")[2]


@dataclass(frozen=True)
class OfficialFiles:
    """The files of one data set.

    Args:
        name: Name for :func:`semaug.data.load_data`.
        folder: Folder under the data root that holds them.
        md5: Official sum of each file, by its name; none of a folder of very many files, which
            is provided whole.
        downloads: What provides them all.
    """

    name: str
    folder: str
    md5: Mapping[str, str]
    downloads: tuple[Download, ...]


@dataclass(frozen=True, kw_only=True)
class DataSource(ABC):
    """A data set by its name. A subclass needs :meth:`load` alone; fields of it are its options.

    What is known before the images are read, in class attributes:

    - ``num_classes``; None if only the files tell.
    - ``side``, height and width of all images in pixels; None if they differ.
    - ``in_files``, whether images stay in files and are decoded during training.
    - ``test_options``, names of options that choose what is tested on, and may be changed after
      training.
    - ``is_users_own``, whether it depends on the data root which images there are.
    - ``files``, what :func:`semaug.data.fetch.fetch` downloads; None if it downloads nothing.
    - ``how_to_get``, what to do instead, with ``{root}`` for the data root.
    """

    num_classes: ClassVar[int | None] = None
    side: ClassVar[int | None] = None
    in_files: ClassVar[bool] = False
    test_options: ClassVar[tuple[str, ...]] = ()
    is_users_own: ClassVar[bool] = False
    files: ClassVar[OfficialFiles | None] = None
    how_to_get: ClassVar[str] = "get it as its author says"

    @abstractmethod
    def load(self, root: Path, workers: int | None = None) -> Any:
        """Read the set.

        Args:
            root: Data root, the folder of all data sets.
            workers: Processes that decode where reading decodes many files; 0 decodes in this one,
                None chooses.

        Returns:
            Training and test images on the CPU: a :class:`semaug.data.DataSet`, or what else the
            loop of a recipe takes, such as :class:`semaug.detection.scenes.SceneData`.

        Raises:
            FileNotFoundError: If a file is missing; the message says how to get it.
            ValueError: If a file is damaged; each line of the message is one problem.
        """

    def check_there(self, root: Path) -> None:
        """Find out in a moment, and without reading an image, whether the files are there.

        Raises:
            FileNotFoundError: As :meth:`load` would.
        """
        if self.files is not None:
            for name in self.files.md5:
                find_official(self.files, root, name)

    def is_whole(self, root: Path) -> bool:
        """Tell whether :meth:`load` reads the set, for files that have no official sums.

        Raises:
            LoadError: If a process was killed.
        """
        try:
            self.load(root)
        except (OSError, ValueError):
            return False
        return True


def find_official(files: OfficialFiles, root: Path, name: str) -> Path:
    """Return where a file lies, without opening it.

    Args:
        files: The data set.
        root: Data root.
        name: One of ``files.md5``.

    Raises:
        FileNotFoundError: If it is missing; the message says where it lies instead, if it
            does, and what mends it.
    """
    path = root / files.folder / name
    if not path.is_file():
        raise FileNotFoundError(
            f"data: expected {files.name} under {str(root)!r}, got no file {str(path)!r}; "
            + remedy_for_missing(files, root, name)
        )
    return path


@contextmanager
def open_official(files: OfficialFiles, root: Path, name: str) -> Iterator[BufferedReader]:
    """Open a file after comparing it with its official MD5 sum.

    Args:
        files: The data set.
        root: Data root.
        name: One of ``files.md5``.

    Raises:
        FileNotFoundError: If it is missing, as :func:`find_official`.
        ValueError: If it is not the official one, byte for byte.
    """
    path = find_official(files, root, name)
    with path.open("rb") as file:
        md5 = md5_of(file)
        if md5 != files.md5[name]:
            raise ValueError(
                f"data: expected {str(path)!r} with MD5 sum {files.md5[name]}, got {md5} "
                f"({path.stat().st_size:,} bytes), so it is damaged or cut short; fetch it with: "
                + fetch_command(files.name, root)
            )
        yield file


def md5_of(file: BufferedReader) -> str:
    """Return the MD5 sum of an open file, and go back to its start."""
    digest = hashlib.file_digest(file, partial(hashlib.md5, usedforsecurity=False))
    file.seek(0)
    return digest.hexdigest()


def has_md5(path: Path, md5: str) -> bool:
    """Tell whether a file is there, can be read, and has this sum."""
    try:
        with path.open("rb") as file:
            return md5_of(file) == md5
    except OSError:
        return False


def fetch_command(name: str, root: Path) -> str:
    """Return the command that downloads a data set.

    >>> fetch_command("cifar10", Path("my data"))
    "semaug data fetch cifar10 --data-root 'my data'"
    """
    return shlex.join(["semaug", "data", "fetch", name, "--data-root", str(root)])


def how_to_fetch(files: OfficialFiles, root: Path) -> str:
    """Say how to get a data set, wherever it may lie."""
    return (
        f"fetch it with: {fetch_command(files.name, root)}, or name the folder that holds "
        f"{files.folder}/ with --data-root or SEMAUG_DATA"
    )


def remedy_for_missing(files: OfficialFiles, root: Path, name: str) -> str:
    """Say where a missing file lies instead, if it does, and what mends it.

    Args:
        files: The data set.
        root: Data root.
        name: Of a file or folder that ``files.downloads`` provide.
    """
    for found, md5, remedy in _list_misplaced(files, root, name):
        if has_md5(found, md5):
            return f"found {str(found)!r}; {remedy}"
    damaged = [path for path, _ in _list_archives(files, root, name) if path.is_file()]
    not_it = f"found {str(damaged[0])!r}, which is damaged or cut short; " if damaged else ""
    return not_it + how_to_fetch(files, root)


def _list_archives(files: OfficialFiles, root: Path, name: str) -> Iterator[tuple[Path, str]]:
    """List where an archive that holds the file may lie, and its sum."""
    archives = [one for one in files.downloads if name in one.provides and name != one.name]
    for archive, place in product(archives, (root, root / files.folder)):
        yield place / archive.name, archive.md5


def _list_misplaced(files: OfficialFiles, root: Path, name: str) -> Iterator[tuple[Path, str, str]]:
    """List where the file may lie instead, its sum, and what mends it.

    Only neighbors of its place, never a whole disk.
    """
    md5 = files.md5.get(name, "")
    folders = sorted(path for path in root.glob("*") if path.is_dir())
    for parent in (root.resolve().parent, *folders):
        remedy = f"add: --data-root {shlex.quote(str(parent))}"
        yield parent / files.folder / name, md5, remedy
    for path, sum_of_archive in _list_archives(files, root, name):
        yield path, sum_of_archive, f"unpack it with: {fetch_command(files.name, root)}"
    for place in (root, *folders):
        yield place / name, md5, f"move it to {str(root / files.folder)!r}"
