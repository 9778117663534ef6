"""Random changes of whole batches of images, each image with its own decisions."""

from semaug.augmentation.compose import Compose
from semaug.augmentation.crop_flip import CropFlip, Translate
from semaug.augmentation.normalize import normalize
from semaug.augmentation.operator import Augmentation

__all__ = ["Augmentation", "Compose", "CropFlip", "Translate", "normalize"]
