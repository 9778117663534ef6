"""What a data set says of itself, and how it is read."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from inspect import getdoc
from pathlib import Path
from typing import ClassVar

from semaug.data.image_set import DataSet
from semaug.data.official import OfficialFiles, find_official


@dataclass(frozen=True, kw_only=True)
class DataSource(ABC):
    """A data set by its name. A subclass needs :meth:`load` alone; fields of it are its options.

    What is known before the images are read, in class attributes:

    - ``num_classes``; None if only the files tell.
    - ``side``, height and width of all images in pixels; None if they differ.
    - ``in_files``, whether images stay in files and are decoded during training.
    - ``is_users_own``, whether it depends on the data root which images there are.
    - ``files``, what :func:`semaug.data.fetch.fetch` downloads; None if it downloads nothing.
    - ``how_to_get``, what to do instead, with ``{root}`` for the data root.
    """

    num_classes: ClassVar[int | None] = None
    side: ClassVar[int | None] = None
    in_files: ClassVar[bool] = False
    is_users_own: ClassVar[bool] = False
    files: ClassVar[OfficialFiles | None] = None
    how_to_get: ClassVar[str] = "get it as its author says"

    @property
    def description(self) -> str:
        """One line for a person who chooses, the first one of the docstring."""
        return (getdoc(type(self)) or "").partition("\n")[0].removesuffix(".")

    @abstractmethod
    def load(self, root: Path, workers: int | None = None) -> DataSet:
        """Read the set.

        Args:
            root: Data root, the folder of all data sets.
            workers: Processes that decode where reading decodes many files; 0 decodes in this one,
                None chooses.

        Returns:
            Training and test images on the CPU.

        Raises:
            FileNotFoundError: If a file is missing; the message says how to get it.
            ValueError: If a file is damaged.
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
