"""What every augmentation of a batch has in common.

An augmentation is a function of images and of uniform random numbers, its *draws*: one row
of them for each image. They are drawn for all images of a set at once, on the CPU, and
batches take their rows. So what becomes of an image depends on the seed and on the place of
the image in its set: batch size, device, number of processes and the moment at which a run
was resumed change nothing.
"""

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor

from semaug._torch.checks import (
    check_channels_first,
    check_floating,
    check_number,
    check_shapes,
    is_number,
)
from semaug.covariance.rows import is_static

# N images of C channels, H and W pixels; K draws for each image.


class Augmentation(ABC):
    """A random change of images, each with its own decisions, a whole batch at once.

    One that leaves all pixels in their places says so with ``moves_pixels = False``; another one
    writes :meth:`move`, or serves no images with masks.
    """

    moves_pixels: ClassVar[bool] = True

    @property
    @abstractmethod
    def num_draws(self) -> int:
        """How many random numbers decide what becomes of one image."""

    @property
    def draw_names(self) -> tuple[str, ...]:
        """What each of the draws decides about, so that two views of an image may share some.

        >>> from semaug.augmentation import Compose, CropFlip, RandAugment
        >>> Compose(CropFlip(), RandAugment(num_ops=1)).draw_names
        ('crop', 'crop', 'flip', 'rand_augment', 'rand_augment')
        """
        name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(self).__name__).lower()
        return (name,) * self.num_draws

    def draw(self, num_images: int, generator: torch.Generator) -> Tensor:
        """Draw the decisions of one epoch, one row for each image of the set.

        Args:
            num_images: Size of the set.
            generator: On the CPU.

        Returns:
            ``(num_images, num_draws)`` float32, uniform in [0, 1), on the CPU.
        """
        return torch.rand(num_images, self.num_draws, generator=generator)

    @abstractmethod
    def __call__(self, images: Tensor, draws: Tensor) -> Tensor:
        """Augment a batch.

        Args:
            images: ``(N, C, H, W)``; they stay as they are.
            draws: ``(N, num_draws)``, the rows of :meth:`draw` for these images. On an
                accelerator they should lie there already: moving them makes the host wait.

        Returns:
            ``(N, C, H, W)`` of the same dtype; height and width are others where it says so.
        """

    def move(self, masks: Tensor, draws: Tensor) -> Tensor:
        """Move the labels of pixels to where a call with the same draws moves the pixels.

        Args:
            masks: ``(N, H, W)`` of an integer dtype that holds 255; they stay as they are.
            draws: ``(N, num_draws)``, those of the images.

        Returns:
            Masks of the same dtype and of the height and width of the images; 255 is the label of
            pixels that come in from outside.

        Raises:
            TypeError: If a dtype is another one.
            ValueError: If shapes disagree, or pixels are moved and masks cannot be.
        """
        if self.moves_pixels:
            raise ValueError(
                f"{type(self).__name__}: expected images with one label each, for it moves pixels "
                "and cannot move masks along"
            )
        return masks

    @property
    def masks_choose(self) -> bool:
        """Whether masks have a say in the draws, see :meth:`choose_draws`."""
        return False

    def choose_draws(self, masks: Tensor, draws: Tensor) -> Tensor:
        """Return the draws that images and masks are augmented with, where masks have a say.

        Args:
            masks: ``(N, H, W)`` as for :meth:`move`.
            draws: ``(N, num_draws)``, the rows of :meth:`draw` for these images; they stay as they
                are.

        Returns:
            ``(N, num_draws)``; of most augmentations those that came.
        """
        return draws


def check_masks_and_draws(augment: Augmentation, masks: Tensor, draws: Tensor) -> None:
    """Check what an augmentation moves masks with.

    Raises:
        TypeError: If the masks cannot hold the label 255, or ``draws`` are no floating-point
            numbers.
        ValueError: If shapes disagree.
    """
    function = type(augment).__name__
    check_shapes(function, masks=(masks, "N H W"), draws=(draws, f"N {augment.num_draws}"))
    check_floating(function, draws=draws)
    dtype = masks.dtype
    if dtype.is_floating_point or dtype.is_complex or dtype in (torch.bool, torch.int8):
        raise TypeError(
            f"{function}: expected `masks` of an integer dtype that holds 255, got {dtype}"
        )


def check_images_and_draws(
    augment: Augmentation, images: Tensor, draws: Tensor, *, shape: str = "N C H W"
) -> None:
    """Check what an augmentation is called with.

    Raises:
        TypeError: If ``draws`` are not floating-point numbers.
        ValueError: If shapes disagree.
    """
    function = type(augment).__name__
    check_shapes(function, images=(images, shape), draws=(draws, f"N {augment.num_draws}"))
    check_channels_first(function, images)
    check_floating(function, draws=draws)


def check_bytes(function: str, images: Tensor) -> None:
    """Check that images are bytes.

    Raises:
        TypeError: If they are not.
    """
    if images.dtype != torch.uint8:
        raise TypeError(f"{function}: expected `images` of dtype torch.uint8, got {images.dtype}")


def check_probability(function: str, name: str, value: float) -> None:
    """Check a probability.

    Raises:
        TypeError: If it is not a number.
        ValueError: If it is not between 0 and 1.
    """
    check_number(function, name, value)
    if not 0 <= value <= 1:
        raise ValueError(f"{function}: expected `{name}` between 0 and 1, got {value}")


def check_fill(function: str, fill: float | tuple[float, ...]) -> None:
    """Check a color: one number for all channels, or one for each.

    Raises:
        TypeError: If it is neither a number nor a tuple of them.
        ValueError: If a number is not finite.
    """
    numbers = fill if isinstance(fill, tuple) else (fill,)
    if not all(map(is_number, numbers)):
        raise TypeError(
            f"{function}: expected `fill` to be a number or a tuple of numbers, got {fill!r}"
        )
    if not all(map(math.isfinite, numbers)):
        raise ValueError(f"{function}: expected finite `fill`, got {fill}")


def fill_of(function: str, fill: float | tuple[float, ...], images: Tensor) -> tuple[float, ...]:
    """Return the number for each channel of images; one alone if they are alike.

    Raises:
        ValueError: If there is not one for each channel, or one that the images cannot hold.
    """
    numbers = fill if isinstance(fill, tuple) else (fill,)
    if isinstance(fill, tuple) and len(numbers) != images.shape[1]:
        raise ValueError(
            f"{function}: expected `fill` for each of {images.shape[1]} channels, got {fill}"
        )
    if images.dtype == torch.uint8 and not all(x in range(256) for x in numbers):
        raise ValueError(
            f"{function}: expected `fill` of whole numbers from 0 to 255 for images of bytes, "
            f"got {fill}"
        )
    return numbers


def apply_where(
    chosen: Tensor, function: Callable[..., Tensor], images: Tensor, *columns: Tensor
) -> Tensor:
    """Change the chosen images only.

    A CPU looks which these are and leaves the others alone. Elsewhere looking would make the
    host wait, so all are changed, and the chosen ones taken. Both give the same.

    Args:
        chosen: ``(N,)`` bool.
        function: Of images and columns; its result has the shape and dtype of the images.
        images: ``(N, C, H, W)``.
        *columns: What else the function needs, ``(N, ...)`` each.

    Returns:
        ``(N, C, H, W)``; the images themselves if none was chosen.
    """
    if is_static(images.device):
        return torch.where(chosen.view(-1, 1, 1, 1), function(images, *columns), images)
    rows = chosen.nonzero().squeeze(1)
    if len(rows) == 0:
        return images
    changed = function(*(x.index_select(0, rows) for x in (images, *columns)))
    return images.index_copy(0, rows, changed)


def in_pieces(function: Callable[..., Tensor], images: Tensor, *columns: Tensor) -> Tensor:
    """Return ``function(images, *columns)``, on a CPU computed on few images at a time.

    What is computed on the way, four bytes and more for each byte of an image, stays in the
    caches then, and in memory that the process already has: twice as fast.

    Args:
        function: Of images and columns, image by image.
        images: ``(N, C, H, W)``.
        *columns: ``(N, ...)`` each.
    """
    num_pieces = images.numel() // _PIECE_ELEMENTS
    if num_pieces < 2 or len(images) == 1 or is_static(images.device):
        return function(images, *columns)
    size = max(1, len(images) // num_pieces)
    pieces = zip(*(x.split(size) for x in (images, *columns)), strict=True)
    return torch.cat([function(*piece) for piece in pieces])


_PIECE_ELEMENTS = 2**17
