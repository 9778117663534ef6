"""Images in tar shards, as WebDataset writes them: a few large files in place of very many.

    root/train-0000.tar    of cat_17.jpg, cat_17.cls, dog_3.jpg, dog_3.cls, ...
    root/val-0000.tar

A sample is an image and its class, a number or a name, in a member of the same name that ends with
``.cls``; other members are passed over. Each shard is listed once; after that, images are read at
their offsets in any order, so all that holds for images in files of their own holds for shards:
the order of an epoch, the pieces of processes, and how a run goes on.

Source: the format is that of https://github.com/webdataset/webdataset; its reader is not used
"""

import os
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch

from semaug.data.cache import cache_file, keep, kept
from semaug.data.class_folders import check_counts, explained, image_extensions, listed
from semaug.data.folder import IMAGENET_MEAN, IMAGENET_STD
from semaug.data.image_set import DataSet, FilePaths, FileSet
from semaug.data.imagenet import NUM_IMAGES
from semaug.data.source import DataSource
from semaug.data.tar_members import Stamp, TarPaths, stamp_of
from semaug.registry import data_sets

_FOLDER = "imagenet"
_LONGEST = 40  # characters of a class that are shown
_BLOCK = 512  # bytes, in which tar files count
_VERSION = 1  # of what is kept of a shard

Member = tuple[str, int, int]  # name, offset and size in bytes of an image
Sample = tuple[str, int, int, str]  # likewise, and the text of its class


@data_sets.register("shards")
@dataclass(frozen=True, kw_only=True)
class Shards(DataSource):
    """Your own photographs in tar files, as WebDataset writes them.

    Classes are numbers from 0, or names; lines of ``classes.txt`` in the data root name the
    numbers.

    Args:
        train: Shards to train on: ``train.tar``, or all tar files in a folder ``train``; ``*``
            stands for any text.
        test: Shards to test on. Without any, hold some images out.
    """

    in_files: ClassVar[bool] = True
    is_users_own: ClassVar[bool] = True
    how_to_get: ClassVar[str] = (
        "it is made of your own files: {root}/train-*.tar and {root}/val-*.tar"
    )

    train: str = "*train*"
    test: str = "*val*"

    def load(self, root: Path, workers: int | None = None) -> DataSet:
        """List the members of all shards; their order is that of the images.

        Args:
            root: Folder that holds the shards.
            workers: Not needed.

        Raises:
            FileNotFoundError: If there are no shards to train on.
            ValueError: If a shard is damaged, a sample is no image with a class, a class is
                unknown, or one has no image to train on.
        """
        shards, names = find_shards(root, self.train), root / "classes.txt"
        given = names.read_text("utf-8").splitlines() if names.is_file() else ()
        train = read_shards(root, shards, tuple(name.strip() for name in given))
        counts = torch.bincount(train.labels, minlength=len(train.classes)).tolist()
        if empty := [x for x, n in zip(train.classes, counts, strict=True) if not n]:
            raise ValueError(
                f"data: expected images of every class in {self.train} of {str(root)!r}, got none "
                f"of {listed(empty)}"
            )
        test, note = train.subset(torch.empty(0, dtype=torch.int64)), "none to test on"
        if any(held := list(_find_shards(root, self.test))):
            test, note = read_shards(root, held, train.classes), f"{len(held):,} to test on"
        notes = (f"shards: {len(shards):,} to train on, {note}",)
        return DataSet("shards", train, test, IMAGENET_MEAN, IMAGENET_STD, notes=notes)

    def check_there(self, root: Path) -> None:
        """Look for shards to train on."""
        find_shards(root, self.train)


@data_sets.register("imagenet_shards")
@dataclass(frozen=True, kw_only=True)
class ImageNetShards(DataSource):
    """ImageNet in tar files, as WebDataset writes them; 150 GB, not to be fetched.

    A class is its WordNet id, such as ``n01440764``, or its place among all of them.

    Args:
        train: Shards to train on, as of :class:`Shards`, in the folder ``imagenet``.
        test: Shards of the validation images, likewise.
    """

    num_classes: ClassVar[int] = 1000
    in_files: ClassVar[bool] = True
    how_to_get: ClassVar[str] = (
        "only image-net.org hands the images out, to people it knows; write them with "
        "webdataset.ShardWriter as {root}/imagenet/train-*.tar and {root}/imagenet/val-*.tar"
    )

    train: str = "*train*"
    test: str = "*val*"

    def load(self, root: Path, workers: int | None = None) -> DataSet:
        """List the members of all shards; the validation images are the test part.

        Args:
            root: Folder that holds ``imagenet``.
            workers: Not needed.

        Raises:
            FileNotFoundError: If there are no shards.
            ValueError: As :meth:`Shards.load`, and if images are missing or too many.
        """
        from timm.data import ImageNetInfo  # slow to import

        folder, parts = root / _FOLDER, []
        for pattern, count in zip((self.train, self.test), NUM_IMAGES.values(), strict=True):
            shards = find_shards(folder, pattern)
            images = read_shards(folder, shards, tuple(ImageNetInfo().label_names()))
            with explained("a part of ImageNet can be read as the data set 'shards'", ValueError):
                check_counts(folder / pattern, images, count, self.num_classes)
            parts.append(images)
        return DataSet("imagenet_shards", parts[0], parts[1], IMAGENET_MEAN, IMAGENET_STD)

    def check_there(self, root: Path) -> None:
        """Look for shards of both parts."""
        for pattern in (self.train, self.test):
            find_shards(root / _FOLDER, pattern)


def find_shards(root: Path, pattern: str) -> list[Path]:
    """Return the tar files of a part of a data set, sorted.

    Raises:
        FileNotFoundError: If there are none.
    """
    if not (found := _find_shards(root, pattern)):
        raise FileNotFoundError(
            f"data: expected tar files {pattern}.tar or {pattern}/*.tar in {str(root)!r}, got "
            "none; choose others with data.train= and data.test=, or name the folder that holds "
            "them with --data-root or SEMAUG_DATA"
        )
    return found


def read_shards(root: Path, shards: Sequence[Path], classes: tuple[str, ...] = ()) -> FileSet:
    """List the images of tar files, in the order of these and of their members.

    What was found is kept in the cache folder of the user for as long as a tar file keeps size and
    time.

    Args:
        root: Folder that the tar files are in.
        shards: The tar files.
        classes: Names; without any, those of the images, sorted, or their numbers.

    Raises:
        OSError: If a file cannot be read.
        ValueError: If a shard is damaged, a sample is no image with a class, or a class is unknown;
            the message names shard and image.
    """
    stamps = tuple(map(stamp_of, shards))
    indices = [_load_index(shard, stamp) for shard, stamp in zip(shards, stamps, strict=True)]
    texts = {sample[3] for samples in indices for sample in samples}
    if not classes and all(map(str.isdecimal, texts)):
        if (last := max(map(int, texts), default=0)) >= len(texts):
            raise ValueError(
                f"data: expected classes from 0 on in {str(root)!r}, got {len(texts):,} different "
                f"numbers up to {last}; name all classes in lines of classes.txt"
            )
        classes = tuple(map(str, range(len(texts))))
    classes = classes or tuple(sorted(texts))
    ids = {name: label for label, name in enumerate(classes)}
    labels: list[int] = []
    for shard, samples in zip(shards, indices, strict=True):
        for name, _, _, text in samples:
            label = ids.get(text, int(text) if text.isdecimal() else len(classes))
            if label >= len(classes):
                raise ValueError(
                    f"data: expected one of {len(classes):,} classes, or its number below that, "
                    f"of {name!r} in {str(shard)!r}, got {text[:_LONGEST]!r}"
                )
            labels.append(label)
    names = (
        f"{shard.relative_to(root)}{os.sep}{sample[0]}"
        for shard, samples in zip(shards, indices, strict=True)
        for sample in samples
    )
    spots = [(tar, *sample[1:3]) for tar, samples in enumerate(indices) for sample in samples]
    paths = FilePaths.of(root, names)
    members = TarPaths(
        *(paths.root, paths.names, paths.spans),
        tars=tuple(shards),
        stamps=stamps,
        spots=torch.tensor(spots, dtype=torch.int64).view(-1, 3),
    )
    return FileSet(members, torch.tensor(labels, dtype=torch.int64), classes)


def _find_shards(root: Path, pattern: str) -> list[Path]:
    return sorted({*root.glob(f"{pattern}.tar"), *root.glob(f"{pattern}/*.tar")})


def _load_index(shard: Path, stamp: Stamp) -> list[Sample]:
    """Return the samples of a shard, from the cache or from the shard."""
    file = cache_file("tar_index", shard)
    if (known := kept(file)).get("stamp") == [_VERSION, *stamp]:
        return [(name, offset, size, text) for name, offset, size, text in known["samples"]]
    samples = _list_samples(shard)
    keep(file, {"stamp": [_VERSION, *stamp], "samples": samples})
    return samples


def _list_samples(shard: Path) -> list[Sample]:
    """List the samples of a shard.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is damaged, or a sample is no image with a class.
    """
    try:
        images, texts = _list_members(shard)
    except tarfile.TarError as error:
        raise ValueError(
            f"data: expected {str(shard)!r} to be a tar file without compression, got one that "
            f"is damaged or cut short ({error}); copy or fetch it again"
        ) from error
    for key in {**images, **texts}:
        one, own = images.get(key, []), texts.get(key, [])
        if len(one) != 1 or len(own) != 1:
            raise ValueError(
                f"data: expected one image and one class in {key}.cls of each sample in "
                f"{str(shard)!r}, got {len(one)} images and {len(own)} classes of {key!r}"
            )
    return [(*one[0], texts[key][0]) for key, one in images.items()]


def _list_members(shard: Path) -> tuple[dict[str, list[Member]], dict[str, list[str]]]:
    """Return the images and the texts of classes in a shard, by the key of their sample.

    Raises:
        OSError: If it cannot be read.
        tarfile.TarError: If it is damaged.
    """
    images: dict[str, list[Member]] = {}
    texts: dict[str, list[str]] = {}
    with shard.open("rb") as file, tarfile.open(fileobj=file, mode="r:") as tar:
        for member in tar:
            folder, name = os.path.split(member.name)
            if not member.isreg() or name.startswith("."):
                continue
            key, _, ending = name.partition(".")
            key = f"{folder}/{key}" if folder else key
            if ending == "cls":
                text = os.pread(file.fileno(), member.size, member.offset_data)
                texts.setdefault(key, []).append(text.decode(errors="replace").strip())
            elif f".{ending.rpartition('.')[2].lower()}" in image_extensions():
                place = (member.name, member.offset_data, member.size)
                images.setdefault(key, []).append(place)
        # Python takes a header that is damaged or cut short for the end of the file.
        if any(end := os.pread(file.fileno(), _BLOCK, tar.offset)) or len(end) < _BLOCK:
            raise tarfile.ReadError(f"no header and no end at byte {tar.offset:,}")
    return images, texts
