"""Random changes of whole batches of images, each image with its own decisions."""

from semaug.augmentation.auto_augment import AutoAugment
from semaug.augmentation.color import ColorJitter, Grayscale
from semaug.augmentation.compose import Compose
from semaug.augmentation.crop_flip import CropFlip, Translate
from semaug.augmentation.cutout import Cutout
from semaug.augmentation.normalize import normalize
from semaug.augmentation.operator import Augmentation
from semaug.augmentation.rand_augment import RandAugment

__all__ = [
    "Augmentation",
    "AutoAugment",
    "ColorJitter",
    "Compose",
    "CropFlip",
    "Cutout",
    "Grayscale",
    "RandAugment",
    "Translate",
    "normalize",
]
