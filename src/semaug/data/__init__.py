"""Data sets that live whole, as bytes, on the device.

>>> import torch
>>> from semaug.augmentation import CropFlip, normalize
>>> from semaug.data import load_data
>>> digits = load_data("digits")
>>> augment = CropFlip(padding=1, flip=False)
>>> draws = augment.draw(len(digits.train), torch.Generator().manual_seed(0))
>>> images = augment(digits.train.images[:4], draws[:4])
>>> normalize(images, digits.mean, digits.std).shape
torch.Size([4, 3, 8, 8])
"""

from semaug.data.image_set import DataSet, ImageSet
from semaug.data.order import epoch_order
from semaug.data.registry import DATA_SETS, load_data

__all__ = [
    "DATA_SETS",
    "DataSet",
    "ImageSet",
    "epoch_order",
    "load_data",
]
