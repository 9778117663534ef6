"""Features on a disk, found by the digest of their image."""

import hashlib
import secrets
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from semaug.data import FileSet, ImageSet
from semaug.errors import UserError
from semaug.runs.files import write_atomically

__all__ = ["FeatureStore", "digest_images"]

_SIZE = 16  # bytes of a digest

# N images, A features.


class FeatureStore:
    """Features of images in one folder, which any number of processes may read and add to.

    What is added is a pair of files, of features and of digests, and is there once the second one
    is. Nothing is ever changed, so the folder may be deleted while nothing uses it.

    Args:
        folder: Of the features of one network, one preparation of images and one pass.

    >>> import tempfile
    >>> store = FeatureStore(Path(tempfile.mkdtemp()))
    >>> store.add([b"a" * 16, b"b" * 16], torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    >>> store.missing([b"b" * 16, b"c" * 16])
    [1]
    >>> store.read([b"b" * 16, b"a" * 16])
    tensor([[3., 4.],
            [1., 2.]])
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._places: dict[bytes, tuple[Path, int]] = {}
        self._known: set[Path] = set()

    def missing(self, digests: Sequence[bytes]) -> list[int]:
        """Return which of the images have no features here, by their places, each once.

        Raises:
            UserError: If a file is damaged.
        """
        self._look()
        first = {digest: place for place, digest in reversed([*enumerate(digests)])}
        return sorted(place for digest, place in first.items() if digest not in self._places)

    def add(self, digests: Sequence[bytes], features: Tensor) -> None:
        """Keep features.

        Args:
            digests: Of N images, 16 bytes each.
            features: ``(N, A)`` float32.

        Raises:
            OSError: If the disk does not take them.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        name = secrets.token_hex(8)
        own = features.cpu().float().numpy()
        table = np.frombuffer(b"".join(digests), dtype=np.uint8).reshape(-1, _SIZE)
        write_atomically(self.folder / f"{name}.features.npy", lambda file: np.save(file, own))
        write_atomically(self.folder / f"{name}.digests.npy", lambda file: np.save(file, table))

    def read(self, digests: Sequence[bytes]) -> Tensor:
        """Return the features of images.

        Args:
            digests: Of N images that are not missing.

        Returns:
            ``(N, A)`` float32, on the CPU.

        Raises:
            KeyError: If one is missing.
            UserError: If a file is damaged.
        """
        self._look()
        by_file: dict[Path, tuple[list[int], list[int]]] = {}
        for place, digest in enumerate(digests):
            path, row = self._places[digest]
            places, rows = by_file.setdefault(path, ([], []))
            places.append(place)
            rows.append(row)
        found: Tensor | None = None
        for path, (places, rows) in by_file.items():
            own = torch.from_numpy(_load(path)[rows])
            found = own.new_empty(len(digests), own.shape[1]) if found is None else found
            found[places] = own
        assert found is not None
        return found

    def _look(self) -> None:
        """Learn of what was added, here or by other processes."""
        for path in sorted({*self.folder.glob("*.digests.npy")} - self._known):
            features = path.with_name(path.name.replace(".digests", ".features"))
            table = _load(path)
            for row, digest in enumerate(table):
                self._places.setdefault(digest.tobytes(), (features, row))
            self._known.add(path)


def _load(path: Path) -> np.ndarray:
    try:
        return np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError) as error:
        raise UserError(
            f"{path}: expected kept features, got a damaged file ({error}); delete the folder "
            f"{path.parent}, and they are computed anew"
        ) from error


def digest_images(images: ImageSet | FileSet) -> list[bytes]:
    """Return 16 bytes for each image: of its pixels, or of path, size and time of its file.

    Raises:
        OSError: If a file is not there.
    """
    if isinstance(images, FileSet):
        stats = (
            (path.resolve(), path.stat())
            for path in map(images.paths.__getitem__, range(len(images.paths)))
        )
        return [_digest(f"{path} {s.st_size} {s.st_mtime_ns}".encode()) for path, s in stats]
    return [_digest(image.tobytes()) for image in images.images.cpu().numpy()]


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=_SIZE).digest()
