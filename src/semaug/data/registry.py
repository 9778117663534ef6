"""The data sets by name."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from semaug._torch.checks import check_positive_int
from semaug._torch.names import unknown_name
from semaug.data.cifar import CIFAR10, CIFAR100, load_cifar10, load_cifar100
from semaug.data.digits import load_digits
from semaug.data.image_set import DataSet
from semaug.data.loader import check_index
from semaug.data.official import Download, OfficialFiles
from semaug.data.selection import select
from semaug.data.svhn import SVHN, SVHN_EXTRA, load_svhn, load_svhn_extra

__all__ = ["DATA_SETS", "DataSource", "data_root", "find_source", "load_data"]


class DataSource(NamedTuple):
    """How a data set is read, and one line for a person who chooses.

    Args:
        load: Reads it from a data root; ``workers=`` is how many processes decode, if
            ``decodes`` says so.
        description: For people.
        files: What :func:`semaug.data.fetch` downloads; None if nothing can be.
        how_to_get: What to do instead, with ``{root}`` for the data root.
        decodes: Whether reading decodes many files.
        is_whole: Of files without official sums: tells whether ``load`` would read them.
    """

    load: Callable[..., DataSet]
    description: str
    files: OfficialFiles | None = None
    how_to_get: str = "it needs no files"
    decodes: bool = False
    is_whole: Callable[[Path], bool] | None = None

    def read(self, root: Path, workers: int | None = None) -> DataSet:
        """Read the set, with so many processes if it takes any."""
        return self.load(root, workers=workers) if self.decodes else self.load(root)


def _load_tiny_imagenet(root: Path, *, workers: int | None) -> DataSet:
    from semaug.data.tiny_imagenet import load_tiny_imagenet  # imports torchvision, which is slow

    return load_tiny_imagenet(root, workers=workers)


def _is_whole_tiny_imagenet(root: Path) -> bool:
    from semaug.data.tiny_imagenet import is_whole

    return is_whole(root)


def _load_imagenet(root: Path) -> DataSet:
    from semaug.data.imagenet import load_imagenet

    return load_imagenet(root)


def _load_folder(root: Path) -> DataSet:
    from semaug.data.folder import load_folder

    return load_folder(root)


_TINY_IMAGENET = OfficialFiles(
    name="tiny_imagenet",
    folder="tiny-imagenet-200",
    md5={},
    downloads=(
        Download(
            "http://cs231n.stanford.edu/tiny-imagenet-200.zip",
            "90528d7ca1a48142e341f4ef8d21d0de",
            ("tiny-imagenet-200",),
        ),
    ),
)

_HOW_TO_GET_IMAGENET = (
    "only image-net.org hands it out, to people it knows; put ILSVRC2012_img_train.tar, "
    "ILSVRC2012_img_val.tar and ILSVRC2012_devkit_t12.tar.gz into {root}/imagenet and unpack them "
    'with: python -c "from torchvision.datasets import ImageNet as D; '
    "[D('{root}/imagenet', part) for part in ('train', 'val')]\""
)
_HOW_TO_GET_FOLDER = (
    "it is made of your own files: {root}/train/CLASS/*.jpg and {root}/val/CLASS/*.jpg"
)

DATA_SETS: dict[str, DataSource] = {
    "digits": DataSource(
        load_digits, "1,797 handwritten digits of 8 x 8 pixels, from scikit-learn; no download"
    ),
    "cifar10": DataSource(
        load_cifar10, "60,000 photographs of 32 x 32 pixels, 10 classes; 0.2 GB", CIFAR10
    ),
    "cifar100": DataSource(
        load_cifar100, "60,000 photographs of 32 x 32 pixels, 100 classes; 0.2 GB", CIFAR100
    ),
    "svhn": DataSource(
        load_svhn, "99,289 house numbers of 32 x 32 pixels, 10 classes; 0.2 GB", SVHN
    ),
    "svhn_extra": DataSource(
        load_svhn_extra,
        "the same and 531,131 simpler ones to train on; 1.6 GB, 4 GB of memory",
        SVHN_EXTRA,
    ),
    "tiny_imagenet": DataSource(
        _load_tiny_imagenet,
        "110,000 photographs of 64 x 64 pixels, 200 classes; 0.2 GB, 1.4 GB of memory",
        _TINY_IMAGENET,
        decodes=True,
        is_whole=_is_whole_tiny_imagenet,
    ),
    "imagenet": DataSource(
        _load_imagenet,
        "1,331,167 photographs, 1,000 classes, decoded in training; 160 GB, not to be fetched",
        how_to_get=_HOW_TO_GET_IMAGENET,
    ),
    "folder": DataSource(
        _load_folder,
        "your own photographs, a folder for each class below the data root",
        how_to_get=_HOW_TO_GET_FOLDER,
    ),
}


def load_data(
    name: str,
    root: str | Path | None = None,
    train_per_class: int | None = None,
    *,
    workers: int | None = None,
) -> DataSet:
    """Read a data set: whole into memory, or the names of its files where it is large.

    Args:
        name: One of ``DATA_SETS``.
        root: Folder that holds the files, see ``docs/data.md``. If None, the environment
            variable ``SEMAUG_DATA``, and ``data`` without it. ``"digits"`` has no files.
        train_per_class: Keep only the first so many training images of each class, in
            official order; :func:`~semaug.data.select` chooses in other ways. The test images
            and the normalization stay those of the whole.
        workers: Processes that decode while the set is read; 0 decodes in this one, and None
            chooses. Only ``"tiny_imagenet"`` decodes then; others pass it over.

    Returns:
        Training and test images on the CPU.

    Raises:
        TypeError: If ``train_per_class`` or ``workers`` is not an int.
        LoadError: If a process was killed.
        ModuleNotFoundError: If a package of the extra ``train`` is missing that the set needs.
        FileNotFoundError: If a file is missing; the message says how to fetch it.
        ValueError: If the name is unknown, a file is damaged, ``train_per_class`` is below 1,
            a class has fewer images, or ``workers`` is below 0.
    """
    source = find_source("load_data", name)
    if workers is not None:
        check_index("load_data", "workers", workers)
    if train_per_class is not None:
        check_positive_int("load_data", train_per_class=train_per_class)
    data = source.read(data_root(root), workers)
    return select(data, train_per_class=train_per_class)[0]


def find_source(function: str, name: str) -> DataSource:
    """Look up a data set for ``function``, which the message names.

    Raises:
        ValueError: If the name is unknown.
    """
    if name not in DATA_SETS:
        raise ValueError(unknown_name(function, "data set", name, DATA_SETS))
    return DATA_SETS[name]


def data_root(root: str | Path | None = None) -> Path:
    """Return the folder of the data sets: ``root``, else ``SEMAUG_DATA``, else ``data``."""
    chosen = root if root is not None else os.environ.get("SEMAUG_DATA") or "data"
    return Path(chosen).expanduser()


from semaug.registry import data_sets as _ds
_F = {"digits": (10, 8), "cifar10": (10, 32), "cifar100": (100, 32), "svhn": (10,32), "svhn_extra": (10,32), "tiny_imagenet": (200, 64), "imagenet": (1000,None), "folder": (None,None)}
from dataclasses import dataclass as _dc
def _mk(name, source):
    class S:
        num_classes, side = _F[name]
        in_files = name in ("imagenet","folder")
        is_users_own = name == "folder"
        def load(self, root, workers): return source.read(root, workers)
    S.__name__ = S.__qualname__ = name
    return _dc(frozen=True, kw_only=True)(S)
for _n, _s in DATA_SETS.items():
    _ds.register(_n)(_mk(_n, _s))
