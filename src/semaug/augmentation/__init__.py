"""Random changes of whole batches of images, each image with its own decisions."""

from semaug.augmentation.compose import Compose
from semaug.augmentation.operator import Augmentation

__all__ = ["Augmentation", "Compose"]
