"""Near duplicates: copies of a photograph in other sizes and qualities, and shots taken in a row.

If a network learns from one and is tested on the other, its error comes out too low. Two images
are near duplicates if at most 48 of the 256 bits of their perceptual hashes differ: signs of the 16
x 16 lowest frequencies of a small grey picture, beside their median. That finds copies that were
resized, compressed, brightened or shifted by 2 % of their width, and not the same thing from
another side. On 12,000 images of CIFAR-100 all pairs that it finds are of one class.

Source: Zauner, Implementation and benchmarking of perceptual image hash functions, 2010, section
3.2; the hash is ImageHash's ``phash``.
"""

import hashlib
import io
import os
import time
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from semaug.data.cache import cache_file, keep, kept
from semaug.data.class_folders import printable
from semaug.data.formats import known_formats
from semaug.data.image_set import FilePaths, FileSet

_SIDE = 16  # frequencies of the hash, and pixels below which an image has fewer
_MOST_DIFFERENT = 48  # bits of near duplicates, of 256
_MOST_PER_IMAGE = 100  # pairs; images that are more alike than that are no duplicates
_MOST_IMAGES = 200_000  # whose pairs are compared in minutes
_DRAFT = 256  # pixels that a JPEG is decoded to at least
_AT_ONCE = 256  # images that are read, or compared with all others
_WORTH_KEEPING = 1.0  # seconds that hashing took
_VERSION = 1  # of what is kept

# N images.


@dataclass(frozen=True, eq=False)
class NearDuplicates:
    """Pairs of near duplicates among the images of a few parts of a data set.

    Args:
        parts: The parts; their images are numbered one part after the other.
        pairs: ``(P, 2)`` int64, numbers of two images, the lower one first.
        unknown: Why pairs are not known, "" if they are.
    """

    parts: Sequence[FileSet]
    pairs: Tensor
    unknown: str = ""

    @property
    def labels(self) -> Tensor:
        """Class of each image, ``(N,)`` int64; 0 for all that have masks."""
        every = (part.labels.cpu() for part in self.parts)
        return torch.cat([own.sum((1, 2)) if own.ndim == 3 else own for own in every])

    @property
    def groups(self) -> Tensor:
        """Number of the group of each image, ``(N,)`` int64: near duplicates have the same one."""
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components  # slow to import

        first, second = self.pairs.T.numpy()
        size = len(self.labels)
        links = coo_array((np.ones(len(first), bool), (first, second)), shape=(size, size))
        return torch.from_numpy(connected_components(links, directed=False)[1]).long()

    def describe(self, most: int = 5) -> list[str]:
        """Say how many pairs there are, and which; those whose classes or parts differ first.

        Args:
            most: Pairs that are named.

        Returns:
            Lines; none if there are no near duplicates.
        """
        if self.unknown:
            return [f"near duplicates: {self.unknown}"]
        if not len(self.pairs):
            return []
        first, second = self.labels[self.pairs].T
        starts = torch.tensor([0, *accumulate(len(part) for part in self.parts)])
        part = torch.bucketize(self.pairs, starts, right=True) - 1
        other_class, other_part = first != second, part[:, 0] != part[:, 1]
        num_pairs, num_images = len(self.pairs), len(self.pairs.unique())
        line = (
            f"near duplicates: {num_pairs:,} pair{'s' * (num_pairs > 1)} of {num_images:,} images, "
            "copies or shots in a row"
        )
        if count := int(other_class.sum()):
            line += f"; of {count:,} the classes differ, so a label is probably wrong"
        if count := int(other_part.sum()):
            line += f"; {count:,} of training and test images, which make the error too low"
        order = (2 * other_class + other_part).argsort(descending=True, stable=True)[:most]
        lines = [line]
        for place in order.tolist():
            names = [
                printable(str(self.parts[which].paths[number - int(starts[which])]))
                for number, which in zip(
                    self.pairs[place].tolist(), part[place].tolist(), strict=True
                )
            ]
            ending = ", classes differ" if other_class[place] else ""
            lines.append(f"  {' and '.join(names)}{ending}")
        return lines + ([f"  and {num_pairs - most:,} more"] if num_pairs > most else [])


def find_near_duplicates(
    parts: Sequence[FileSet],
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
    threads: int | None = None,
) -> NearDuplicates:
    """Find near duplicates among images in files.

    Hashes that took more than a second are kept in the cache folder of the user, and computed anew
    of files that have changed. Images that cannot be read, are of one color, or have a side of less
    than 16 pixels, have none.

    Args:
        parts: Of a data set.
        progress: Called with the number of images that have a hash so far, and of all.
        threads: How many read images; None is one for each core. They change no result.
    """
    total, none = sum(map(len, parts)), torch.empty(0, 2, dtype=torch.int64)
    if total > _MOST_IMAGES:
        return NearDuplicates(
            parts, none, f"not looked for among more than {_MOST_IMAGES:,} images"
        )
    hashes: list[str] = []
    for part in parts:
        advance = partial(lambda before, done: progress(before + done, total), len(hashes))
        hashes += _hash_files(part.paths, threads, advance)
    places = torch.tensor([place for place, one in enumerate(hashes) if one], dtype=torch.int64)
    packed = b"".join(map(bytes.fromhex, hashes))
    key = hashlib.sha256(packed).digest()
    if key not in _known:
        bits = np.unpackbits(np.frombuffer(packed, np.uint8)).reshape(len(places), _SIDE**2)
        _known[key] = _find_close_pairs(torch.from_numpy(bits))
    pairs = _known[key]
    if pairs is None:
        reason = f"more than {_MOST_PER_IMAGE} for each image; they are too alike to tell by a hash"
        return NearDuplicates(parts, none, reason)
    return NearDuplicates(parts, places[pairs])


_known: dict[bytes, Tensor | None] = {}  # pairs by the hashes of the images: many runs ask


def _find_close_pairs(bits: Tensor) -> Tensor | None:
    """Return pairs ``(P, 2)`` of rows of ``(N, 256)`` bits that are alike; None if too many are."""
    signs, found, count = 2 * bits.float() - 1, [torch.empty(0, 2, dtype=torch.int64)], 0
    least = _SIDE**2 - 2 * _MOST_DIFFERENT
    for start in range(0, len(signs), _AT_ONCE):
        products = signs[start : start + _AT_ONCE] @ signs[start:].T
        pairs = (products >= least).nonzero()
        found.append(pairs[pairs[:, 0] < pairs[:, 1]] + start)
        count += len(found[-1])
        if count > _MOST_PER_IMAGE * len(signs):
            return None
    return torch.cat(found)


def _hash_files(
    paths: FilePaths, threads: int | None, progress: Callable[[int], object]
) -> list[str]:
    """Return the hash of each file in hexadecimal digits, "" where there is none."""
    file = cache_file("near_duplicates", paths.root)
    known = _read_kept_hashes(file)
    names = [os.path.relpath(paths[k], paths.root) for k in range(len(paths))]
    stamps = [_stamp(paths[k]) for k in range(len(paths))]
    missing = [k for k, name in enumerate(names) if known.get(name, [""])[0] != stamps[k]]
    begin = time.monotonic()
    try:
        with warnings.catch_warnings(), ThreadPoolExecutor(threads or os.cpu_count()) as pool:
            warnings.simplefilter("ignore")  # of odd but harmless metadata
            for start in range(0, len(missing), _AT_ONCE):  # a pool queues all that it is given
                own = missing[start : start + _AT_ONCE]
                hashes = pool.map(_hash_file, [paths[k] for k in own])
                for k, found in zip(own, hashes, strict=True):
                    known[names[k]] = [stamps[k], found]
                progress(len(names) - len(missing) + start + len(own))
    finally:
        if time.monotonic() - begin > _WORTH_KEEPING:
            images = {name: known[name] for name in names if name in known}
            keep(file, {"version": _VERSION, "images": images})
    return [known[name][1] for name in names]


def _hash_file(path: Path) -> str:
    from imagehash import phash

    try:
        image = _read_small(path)
        bits = phash(image, hash_size=_SIDE).hash.ravel()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return ""
    is_flat = bits.sum() < _SIDE**2 / 4  # without ties with the median it is a half
    return "" if is_flat or min(image.size) < _SIDE else np.packbits(bits).tobytes().hex()


def _read_small(path: Path) -> Image.Image:
    """Read a photograph upright, a JPEG no larger than is needed."""
    from semaug.data.decode import (  # imports torchvision, which is slow
        decode_file,
        read_file,
        turn_upright,
    )

    with Image.open(io.BytesIO(read_file(path).tobytes()), formats=known_formats()) as image:
        if image.format in ("JPEG", "MPO"):
            image.draft("RGB", (_DRAFT, _DRAFT))
            turn_upright(image)
            return image.convert("RGB")
    return Image.fromarray(decode_file(path).permute(1, 2, 0).numpy())


def _stamp(path: Path) -> str:
    """Return what changes with a file; "missing" of one that is not there."""
    with suppress(OSError):
        found = path.stat()
        return f"{found.st_size} {found.st_mtime_ns}"
    return "missing"


def _read_kept_hashes(file: Path) -> dict[str, Any]:
    """Read what was kept, nothing if that is damaged or of another version."""
    with suppress(AttributeError, LookupError, TypeError, ValueError):
        found = kept(file)
        if found["version"] == _VERSION:
            return {
                name: [str(stamp), str(one)]
                for name, (stamp, one) in found["images"].items()
                if len(bytes.fromhex(one)) in (0, _SIDE**2 // 8)
            }
    return {}
