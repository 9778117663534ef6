"""Data sets, what a run sees of them, and batches of that.

Sets live whole, as bytes, on the device (:class:`ImageSet`), or in files that processes decode
(:class:`FileSet`).

>>> import torch
>>> from semaug.augmentation import CropFlip, normalize
>>> from semaug.data import load_data, select
>>> digits, selection = select(load_data("digits"), hold_out=200, corrupt_percent=20)
>>> len(digits.train), len(digits.test)
(800, 200)
>>> augment = CropFlip(padding=1, flip=False)
>>> draws = augment.draw(len(digits.train), torch.Generator().manual_seed(0))
>>> images = augment(digits.train.images[:4], draws[:4])
>>> normalize(images, digits.mean, digits.std).shape
torch.Size([4, 3, 8, 8])
"""

from semaug.data.description import (
    describe_classes,
    describe_selection,
    pack_selection,
    unpack_selection,
)
from semaug.data.errors import LoadError, explain_worker_death
from semaug.data.image_set import IGNORED, DataSet, FilePaths, FileSet, ImageSet, MaskFiles
from semaug.data.loader import LoadedBatch, Loader, batches, epoch_order
from semaug.data.registry import load_data
from semaug.data.selection import Selection, select
from semaug.data.source import DataSource
from semaug.data.splits import (
    corrupt_labels,
    first_per_class,
    fraction,
    hold_out,
    labeled_subset,
    long_tailed,
)
from semaug.data.subset import Subset
from semaug.data.views import RandomResizedCrop, ResizeCenterCrop

__all__ = [
    "IGNORED",
    "DataSet",
    "DataSource",
    "FilePaths",
    "FileSet",
    "ImageSet",
    "LoadError",
    "LoadedBatch",
    "Loader",
    "MaskFiles",
    "RandomResizedCrop",
    "ResizeCenterCrop",
    "Selection",
    "Subset",
    "batches",
    "corrupt_labels",
    "describe_classes",
    "describe_selection",
    "epoch_order",
    "explain_worker_death",
    "first_per_class",
    "fraction",
    "hold_out",
    "labeled_subset",
    "load_data",
    "long_tailed",
    "pack_selection",
    "select",
    "unpack_selection",
]
