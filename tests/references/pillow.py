"""Operations of augmentation on one image after the other, by torchvision from Pillow."""

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import InterpolationMode, autoaugment

from semaug.augmentation.operations import Operation


def to_pillow(image: Tensor) -> Image.Image:
    """Copy an image (3, H, W) of bytes."""
    return Image.fromarray(image.permute(1, 2, 0).contiguous().numpy())


def from_pillow(image: Image.Image) -> Tensor:
    """Copy an image to (3, H, W)."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def magnitude_by_torchvision(operation: Operation, height: int, width: int) -> float:
    """Look a magnitude up in torchvision's table, and give it its sign."""
    space = autoaugment.AutoAugment()._augmentation_space(operation.num_levels, (height, width))
    magnitudes, signed = space.get(operation.name, (torch.tensor(0.0), False))
    magnitude = magnitudes[operation.level].item() if magnitudes.ndim else 0.0
    return -magnitude if signed and operation.negative else magnitude


def operate_by_images(images: Tensor, operation: Operation) -> Tensor:
    """Apply one operation to all images."""
    magnitude = magnitude_by_torchvision(operation, *images.shape[-2:])
    nearest = InterpolationMode.NEAREST
    rows = [
        autoaugment._apply_op(to_pillow(image), operation.name, magnitude, nearest, None)
        for image in images
    ]
    return torch.stack([from_pillow(row) for row in rows])


def transform_by_images(images: Tensor, transforms: list) -> Tensor:
    """Apply to each image a transform of its own."""
    rows = [apply(to_pillow(image)) for image, apply in zip(images, transforms, strict=True)]
    return torch.stack([from_pillow(row) for row in rows])
