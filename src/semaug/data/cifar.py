"""CIFAR-10 and CIFAR-100 from the files that their archives hold.

Every file is compared with its official MD5 sum before it is read further.

Source: Krizhevsky, 2009, https://www.cs.toronto.edu/~kriz/cifar.html
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from semaug.data.image_set import DataSet, ImageSet
from semaug.data.source import DataSource, Download, OfficialFiles, open_official
from semaug.data.unpickle import load_arrays
from semaug.registry import data_sets


@dataclass(frozen=True)
class CifarFiles(OfficialFiles):
    """What the files of one data set hold.

    Args:
        name: Name for :func:`semaug.data.load_data`.
        folder: Folder under the data root.
        md5: Official sum of each file.
        downloads: The archive.
        train: Files of the training images, in order.
        test: Files of the test images.
        meta: File of the class names.
        label_key: Entry of a batch with the labels.
        classes_key: Entry of ``meta`` with the class names.
        mean: Of each channel over the training images, on a scale of 0 to 1.
        std: Standard deviation, likewise.
    """

    train: tuple[str, ...]
    test: tuple[str, ...]
    meta: str
    label_key: bytes
    classes_key: bytes
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


_ADDRESS = "https://www.cs.toronto.edu/~kriz/"

_MD5_10 = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
    "batches.meta": "5ff9c542aee3614f3951f8cda6e48888",
}

_MD5_100 = {
    "train": "16019d7e3df5f24257cddd939b257f8d",
    "test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
    "meta": "7973b15100ade9c7d40fb424638fde48",
}


class _Cifar(DataSource):
    side: ClassVar[int] = 32
    files: ClassVar[CifarFiles]

    def load(self, root: Path, workers: int | None = None) -> DataSet:
        """Read 50,000 training and 10,000 test images.

        Args:
            root: Folder that holds that of the files.
            workers: Not needed.

        Raises:
            FileNotFoundError: If a file is missing; the message says how to fetch it.
            ValueError: If a file is not the official one, byte for byte.
        """
        files = self.files
        meta = _read_batch(files, root, files.meta)
        classes = tuple(name.decode() for name in meta[files.classes_key])
        train, test = (_read_images(files, root, x, classes) for x in (files.train, files.test))
        return DataSet(files.name, train, test, files.mean, files.std)


@data_sets.register("cifar10")
class Cifar10(_Cifar):
    """60,000 photographs of 32 x 32 pixels, 10 classes; 0.2 GB."""

    num_classes: ClassVar[int] = 10
    files: ClassVar[CifarFiles] = CifarFiles(
        name="cifar10",
        folder="cifar-10-batches-py",
        train=("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5"),
        test=("test_batch",),
        meta="batches.meta",
        label_key=b"labels",
        classes_key=b"label_names",
        md5=_MD5_10,
        downloads=(
            Download(
                f"{_ADDRESS}cifar-10-python.tar.gz",
                "c58f30108f718f92721af3b95e74349a",
                tuple(_MD5_10),
            ),
        ),
        mean=(0.49139968, 0.48215841, 0.44653091),
        std=(0.24703223, 0.24348513, 0.26158784),
    )


@data_sets.register("cifar100")
class Cifar100(_Cifar):
    """60,000 photographs of 32 x 32 pixels, 100 classes; 0.2 GB."""

    num_classes: ClassVar[int] = 100
    files: ClassVar[CifarFiles] = CifarFiles(
        name="cifar100",
        folder="cifar-100-python",
        train=("train",),
        test=("test",),
        meta="meta",
        label_key=b"fine_labels",
        classes_key=b"fine_label_names",
        md5=_MD5_100,
        downloads=(
            Download(
                f"{_ADDRESS}cifar-100-python.tar.gz",
                "eb9058c3a382ffc7106e4002c42a8d85",
                tuple(_MD5_100),
            ),
        ),
        mean=(0.50707516, 0.48654887, 0.44091784),
        std=(0.26733429, 0.25643846, 0.27615047),
    )


def _read_images(
    files: CifarFiles, root: Path, names: Sequence[str], classes: tuple[str, ...]
) -> ImageSet:
    first = _read_batch(files, root, names[0])
    pixels, labels = first[b"data"], [*first[files.label_key]]  # (N, 3 * 32 * 32)
    if len(names) > 1:  # N in each; copied one at a time, so that few are in memory twice
        pixels = np.empty((len(names), *pixels.shape), np.uint8)
        pixels[0] = first.pop(b"data")
    for place, name in enumerate(names[1:], start=1):
        batch = _read_batch(files, root, name)
        pixels[place] = batch[b"data"]
        labels += batch[files.label_key]
    images = torch.from_numpy(pixels).view(-1, 3, 32, 32)
    return ImageSet(images, torch.tensor(labels, dtype=torch.int64), classes)


def _read_batch(files: CifarFiles, root: Path, name: str) -> dict[bytes, Any]:
    with open_official(files, root, name) as file:
        return load_arrays(file, str(root / files.folder / name))
