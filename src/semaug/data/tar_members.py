"""Members of tar files, read where they lie: the tar is not unpacked, nor read from its start."""

import os
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Self

import numpy as np
from torch import Tensor

from semaug.data.image_set import FilePaths

_MOST_OPEN = 256  # tar files of one process

Stamp = tuple[int, int]  # size in bytes and time of the last change in ns, which tell a new file


def stamp_of(path: Path) -> Stamp:
    """Return what changes with a file."""
    found = path.stat()
    return found.st_size, found.st_mtime_ns


@dataclass(frozen=True)
class TarMember(os.PathLike[str]):
    """A file in a tar file, which has no path of its own: ``shards/train-0.tar/n01440764_1.jpg``.

    Args:
        path: Of the tar file, then the name of the member; for names and messages.
        tar: The tar file.
        stamp: Of the tar file when its members were listed.
        offset: Bytes before the content of the member.
        size: Bytes of the content.
    """

    path: Path
    tar: Path
    stamp: Stamp
    offset: int
    size: int

    def __fspath__(self) -> str:
        return str(self.path)

    def __str__(self) -> str:
        return str(self.path)

    @property
    def name(self) -> str:
        """Last part of the name of the member."""
        return self.path.name

    def resolve(self) -> Path:
        """Return the path without links."""
        return self.path.resolve()

    def stat(self) -> os.stat_result:
        """Return the state of the tar file."""
        return self.tar.stat()

    def read(self) -> np.ndarray:
        """Read the content, uint8.

        Raises:
            OSError: If the tar file cannot be read.
            ValueError: If it has changed since its members were listed.
        """
        content, read = np.empty(self.size, np.uint8), 0
        rest, file = content.data, _open_tar(self.tar, self.stamp)
        while read < self.size:
            count = os.preadv(file.number, [rest[read:]], self.offset + read)
            if not count:
                raise _changed_error(self.tar)
            read += count
        return content


class _Opened:
    """A tar file that stays open, for opening one is slow on network file systems."""

    def __init__(self, path: Path) -> None:
        self.number = os.open(path, os.O_RDONLY)

    def __del__(self) -> None:
        if hasattr(self, "number"):
            os.close(self.number)


@lru_cache(_MOST_OPEN)
def _open_tar(path: Path, stamp: Stamp) -> _Opened:
    if stamp_of(path) != stamp:
        raise _changed_error(path)
    return _Opened(path)


def _changed_error(tar: Path) -> ValueError:
    return ValueError(
        f"data: expected {str(tar)!r} as it was when its members were listed, got other content; "
        "start the run again, and they are listed anew"
    )


@dataclass(frozen=True, eq=False)
class TarPaths(FilePaths):
    """Members of tar files below one folder; processes share all of it but the names of tars.

    Args:
        tars: The tar files.
        stamps: One for each of them.
        spots: ``(N, 3)`` int64: which of the tar files, offset in it and size, in bytes.
    """

    tars: tuple[Path, ...]
    stamps: tuple[Stamp, ...]
    spots: Tensor

    def __getitem__(self, index: int) -> TarMember:  # type: ignore[override]  # it reads alike
        """Build one member, which :func:`semaug.data.decode.decode_file` reads as a path."""
        tar, offset, size = self.spots[index].tolist()
        return TarMember(
            Path(super().__getitem__(index)), self.tars[tar], self.stamps[tar], offset, size
        )

    def subset(self, indices: Tensor) -> Self:
        """Take the members at ``indices``, as :meth:`FilePaths.subset`."""
        return replace(super().subset(indices), spots=self.spots[indices.to(self.spots.device)])
