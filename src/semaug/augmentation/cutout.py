"""Cutout: one square of each image is lost, so that the network looks at the rest too.

Source: DeVries & Taylor, 2017, https://arxiv.org/abs/1708.04552
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from semaug._torch.checks import check_positive_int
from semaug.augmentation.operator import (
    Augmentation,
    check_fill,
    check_images_and_draws,
    fill_of,
)

# N images of C channels, H and W pixels.


@dataclass(frozen=True)
class Cutout(Augmentation):
    """Fill a square of each image with one color.

    The middle of the square may be any pixel with the same chance, so that at a border part
    of the square lies outside. It covers the rows from ``middle - size // 2`` on, ``size``
    of them, and likewise the columns. For an even size this is what the paper's code does;
    for an odd one that code covers ``size - 1`` rows, and this class covers ``size``.

    The paper fills with 0 *after* normalization, which is the mean color. Before it, give
    the mean of the data set as bytes, and the difference to the paper is at most half a grey
    level: ``fill=tuple(round(255 * x) for x in data.mean)``. The default is black.

    Args:
        size: Pixels on each side of the square. The paper has 16 for CIFAR-10, 8 for
            CIFAR-100 and 20 for SVHN.
        fill: What is filled in, for all channels or for each. For images of bytes a whole
            number from 0 to 255.

    Raises:
        TypeError: If ``size`` is not an int, or ``fill`` neither a number nor a tuple of them.
        ValueError: If ``size`` is below 1, or ``fill`` not finite.
    """

    moves_pixels = False
    num_draws = 2  # row and column of the middle

    size: int
    fill: float | tuple[float, ...] = 0

    def __post_init__(self) -> None:
        check_positive_int("Cutout", size=self.size)
        check_fill("Cutout", self.fill)

    def __call__(self, images: Tensor, draws: Tensor) -> Tensor:
        """Augment a batch.

        Args:
            images: ``(N, C, H, W)`` of any dtype, of finite numbers: bytes, or floating-point
                numbers after normalization.
            draws: ``(N, 2)``, the rows of :meth:`draw` for these images. On an accelerator
                they should lie there already: moving them makes the host wait.

        Returns:
            ``(N, C, H, W)`` of the same dtype.

        Raises:
            TypeError: If ``draws`` are not floating-point numbers.
            ValueError: If shapes disagree, ``fill`` has not one number for each channel, or
                one that the dtype of the images cannot hold.
        """
        check_images_and_draws(self, images, draws)
        fill = fill_of("Cutout", self.fill, images)
        draws = draws.to(images.device)
        height, width = images.shape[-2:]
        rows, columns = self._covered(draws[:, 0], height), self._covered(draws[:, 1], width)
        hole = (rows.unsqueeze(2) & columns.unsqueeze(1)).unsqueeze(1)  # (N, 1, H, W)
        # Several times faster than masked_fill, and the same for finite numbers.
        kept = images * ~hole
        if not any(fill):
            return kept
        color = torch.cat([images.new_full((1, 1, 1), x) for x in fill])
        return kept.add_(color * hole)

    def _covered(self, draws: Tensor, length: int) -> Tensor:
        """Tell which of ``length`` rows, or columns, are in the square, (N, length) bool."""
        middle = (draws * length).floor_() - (0.5 if self.size % 2 == 0 else 0.0)
        distance = torch.arange(length, device=draws.device) - middle.unsqueeze(1)
        return distance.abs_() < self.size / 2
