"""Images and their objects on the way to a detector.

Boxes are (x1, y1, x2, y2) without rounding; masks follow their image.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from semaug.detection.boxes import Target

__all__ = ["collate", "flip", "normalize", "resize", "resized_size"]

_MULTIPLE = 32  # the stride of the coarsest feature map that a backbone gives


def resized_size(size: tuple[int, int], short: int, long: int) -> tuple[int, int]:
    """Return the largest size in proportion with sides of at most ``short`` and ``long``.

    >>> resized_size((480, 640), 800, 1333), resized_size((300, 900), 800, 1333)
    ((800, 1067), (444, 1333))
    """
    scale = min(short / min(size), long / max(size))
    return int(size[0] * scale + 0.5), int(size[1] * scale + 0.5)


def resize(
    image: Tensor, target: Target, short: int = 800, long: int = 1333
) -> tuple[Tensor, Target]:
    """Resize an image, keep its proportions, and its objects with it.

    As in MMDetection without smoothing, with the new size rounded half up and boxes multiplied by
    the quotient of the rounded sides.

    Args:
        image: ``(3, H, W)`` uint8.
        target: Its objects.
        short: Largest length of the shorter side in pixels.
        long: Largest length of the longer side.

    Returns:
        ``(3, H', W')`` uint8 and the target.
    """
    old = image.shape[1], image.shape[2]
    new = resized_size(old, short, long)
    if new == old:
        return image, target
    resized = F.interpolate(image[None], size=new, mode="bilinear", align_corners=False)[0]
    scale = _scale(old, new).to(target.boxes)
    masks = None if target.masks is None else _resize_masks(target.masks, new)
    return resized, Target(target.boxes * scale, target.labels, masks, target.crowds * scale)


def flip(image: Tensor, target: Target) -> tuple[Tensor, Target]:
    """Mirror an image ``(3, H, W)`` left to right, and its objects with it: x becomes W − x."""
    width = image.shape[2]
    masks = None if target.masks is None else target.masks.flip(2)
    boxes, crowds = (_mirrored(boxes, width) for boxes in (target.boxes, target.crowds))
    return image.flip(2), Target(boxes, target.labels, masks, crowds)


def normalize(image: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Return ``(3, H, W)`` float32 from bytes, with mean and standard deviation per channel."""
    means, stds = (image.new_tensor(x, dtype=torch.float32).view(3, 1, 1) for x in (mean, std))
    return (image / 255 - means) / stds


def collate(
    scenes: Sequence[tuple[Tensor, Target]], others: Sequence[tuple[int, int]] = ()
) -> tuple[Tensor, list[tuple[int, int]], list[Target]]:
    """Pad normalized images with zeros at the right and the bottom to one size.

    Args:
        scenes: Images ``(3, h, w)`` and their objects.
        others: Heights and widths of images elsewhere that are padded to the same size.

    Returns:
        ``(N, 3, H, W)`` with the least multiples of 32 that hold all images, height and width of
        each image before padding, and the targets.
    """
    sizes = [(image.shape[1], image.shape[2]) for image, _ in scenes]
    height, width = (
        -(-max(sides) // _MULTIPLE) * _MULTIPLE for sides in zip(*sizes, *others, strict=True)
    )
    images = scenes[0][0].new_zeros(len(scenes), 3, height, width)
    for padded, (image, _) in zip(images, scenes, strict=True):
        padded[:, : image.shape[1], : image.shape[2]] = image
    return images, sizes, [target for _, target in scenes]


def _scale(old: tuple[int, ...], new: tuple[int, ...]) -> Tensor:
    return torch.tensor([new[1] / old[1], new[0] / old[0]]).repeat(2)


def _mirrored(boxes: Tensor, width: int) -> Tensor:
    x1, y1, x2, y2 = boxes.unbind(1)
    return torch.stack([width - x2, y1, width - x1, y2], dim=1)


def _resize_masks(masks: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize ``(N, H, W)`` bool to the nearest pixel; F.interpolate takes no empty batch."""
    if not len(masks):
        return masks.new_zeros(0, *size)
    return F.interpolate(masks[:, None].byte(), size=size, mode="nearest-exact")[:, 0].bool()
