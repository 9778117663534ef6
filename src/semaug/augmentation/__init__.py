"""Random changes of whole batches of images, each image with its own decisions."""

from semaug.augmentation.auto_augment import AutoAugment
from semaug.augmentation.color import ColorJitter, Grayscale
from semaug.augmentation.compose import Compose
from semaug.augmentation.crop_flip import CropFlip, Translate
from semaug.augmentation.cutout import Cutout
from semaug.augmentation.mix import Mix, cutmix, mixup
from semaug.augmentation.normalize import normalize
from semaug.augmentation.operator import Augmentation
from semaug.augmentation.rand_augment import RandAugment
from semaug.augmentation.scale_crop import RandomScaleCrop, ScaleCrop
from semaug.augmentation.standard import Augment
from semaug.augmentation.zca import ZCA

__all__ = [
    "ZCA",
    "Augment",
    "Augmentation",
    "AutoAugment",
    "ColorJitter",
    "Compose",
    "CropFlip",
    "Cutout",
    "Grayscale",
    "Mix",
    "RandAugment",
    "RandomScaleCrop",
    "ScaleCrop",
    "Translate",
    "cutmix",
    "mixup",
    "normalize",
]
