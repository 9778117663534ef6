"""Pictures of one size from photographs of any size, where they are decoded.

A view is applied to each image by itself, by the process that decodes it, and makes it small
enough to travel; all other augmentation follows for the whole batch, on its device
(:mod:`semaug.augmentation`). What is random about it comes from numbers drawn for all images of
the set at once, so that workers, batch size and the moment of resuming change nothing.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from semaug._torch.checks import check_floating, check_number, check_positive_int, check_shapes

# C channels, H and W pixels.

_ATTEMPTS = 10  # to find a box that lies inside the image, as in torchvision
_BITS = 24  # of a float32 in [0, 1)
_LONGEST = 100  # longer over shorter side that is resized whole


class View(ABC):
    """What makes a picture of an image. It must be picklable.

    Pictures of images of all sizes have one size, but for a view that says ``one_size = False``.
    """

    one_size: ClassVar[bool] = True

    @property
    @abstractmethod
    def num_draws(self) -> int:
        """How many uniform numbers it takes for an image."""

    def draw(self, num_images: int, generator: torch.Generator) -> Tensor:
        """Draw the decisions of one epoch.

        Args:
            num_images: Size of the set.
            generator: On the CPU.

        Returns:
            ``(num_images, num_draws)`` float32, uniform in [0, 1), on the CPU.
        """
        return torch.rand(num_images, self.num_draws, generator=generator, dtype=torch.float32)

    @abstractmethod
    def __call__(self, image: Tensor, draws: Tensor) -> Tensor:
        """Turn ``(C, H, W)`` uint8 and one row of draws into a picture, uint8 too.

        The picture may share the memory of the image.
        """

    def move(self, mask: Tensor, draws: Tensor) -> Tensor:
        """Turn the mask ``(H, W)`` of an image, uint8 of class ids and 255, as the image.

        Raises:
            ValueError: If the view has no way to do that.
        """
        raise ValueError(
            f"{type(self).__name__}: expected images with one label each, for it cannot move masks "
            "along; augment=scale_crop can"
        )

    def choose_draws(self, mask: Tensor, draws: Tensor) -> Tensor:
        """Return the draws that an image and its mask are viewed with, where the mask has a say."""
        return draws


@dataclass(frozen=True)
class RandomResizedCrop(View):
    """Cut out a box of random area, shape and place, and resize it to a square.

    The area is uniform in ``scale`` (a share of the image's), the logarithm of width over height
    uniform in that of ``ratio``, the place uniform. A box that does not lie inside the image is
    drawn anew, ten times at most; then the largest box in the middle is taken whose shape
    ``ratio`` allows. This is the crop of torchvision, and with equal decisions gives equal pixels.

    Two numbers of 24 bits are drawn for an image. They seed a small generator of their own
    (SplitMix64), which delivers as many uniform numbers as the attempts need.

    Source: Szegedy et al., 2015, https://arxiv.org/abs/1409.4842, section 6

    Args:
        size: Height and width of the picture.
        scale: Lowest and highest share of the area.
        ratio: Lowest and highest width over height.

    Raises:
        TypeError: If ``size`` is not an int, or a range not of numbers.
        ValueError: If ``size`` is below 1, or a range is not two numbers, empty or not positive.
    """

    num_draws = 2  # the upper and the lower half of a seed

    size: int = 224
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)

    def __post_init__(self) -> None:
        check_positive_int("RandomResizedCrop", size=self.size)
        _check_interval("scale", self.scale)
        _check_interval("ratio", self.ratio)

    def __call__(self, image: Tensor, draws: Tensor) -> Tensor:
        """Crop and resize an image.

        Args:
            image: ``(C, H, W)`` uint8.
            draws: ``(2,)``, the row of :meth:`draw` for this image.

        Returns:
            ``(C, size, size)`` uint8.

        Raises:
            TypeError: If the image is not of bytes, or ``draws`` are not floating-point numbers.
            ValueError: If a shape is another one.
        """
        _check_image_and_draws(self, image, draws)
        top, left, rows, columns = self.box(image.shape[1], image.shape[2], draws)
        return resize(image[:, top : top + rows, left : left + columns], self.size, self.size)

    def box(self, height: int, width: int, draws: Tensor) -> tuple[int, int, int, int]:
        """Decide which part of an image is shown.

        Args:
            height: Of the image, in pixels.
            width: Likewise.
            draws: ``(2,)``, the row of :meth:`draw` for this image.

        Returns:
            Top, left, height and width of the box.
        """
        upper, lower = (int(draw * 2**_BITS) for draw in draws.tolist())
        uniform = _uniform_numbers((upper << _BITS) + lower)
        (smallest, largest), (narrowest, widest) = self.scale, self.ratio
        for _ in range(_ATTEMPTS):
            area = height * width * _interpolate(smallest, largest, next(uniform))
            shape = math.exp(_interpolate(math.log(narrowest), math.log(widest), next(uniform)))
            rows, columns = round(math.sqrt(area / shape)), round(math.sqrt(area * shape))
            if 0 < rows <= height and 0 < columns <= width:
                top = int(next(uniform) * (height - rows + 1))
                return top, int(next(uniform) * (width - columns + 1)), rows, columns
        rows, columns = height, width
        if width / height < narrowest:
            rows = max(1, round(width / narrowest))
        elif width / height > widest:
            columns = max(1, round(height * widest))
        return (height - rows) // 2, (width - columns) // 2, rows, columns


@dataclass(frozen=True)
class ResizeCenterCrop(View):
    """Make the shorter side ``resize`` pixels long, and cut out the square in the middle.

    Equal to torchvision's ``Resize(resize)`` and ``CenterCrop(size)``. Nothing about it is random.
    An image more than 100 times as long as wide is cut to that first, around its middle, or a
    single row of pixels could take all memory; then the picture may lie a part of a pixel aside.

    Args:
        resize: Pixels of the shorter side.
        size: Height and width of the picture.

    Raises:
        TypeError: If a size is not an int.
        ValueError: If a size is below 1, or ``size`` above ``resize``.
    """

    num_draws = 0

    resize: int = 256
    size: int = 224

    def __post_init__(self) -> None:
        check_positive_int("ResizeCenterCrop", resize=self.resize, size=self.size)
        if self.size > self.resize:
            raise ValueError(
                f"ResizeCenterCrop: expected `size` <= `resize`, got {self.size} and {self.resize}"
            )

    def __call__(self, image: Tensor, draws: Tensor) -> Tensor:
        """Resize and crop an image.

        Args:
            image: ``(C, H, W)`` uint8.
            draws: ``(0,)``.

        Returns:
            ``(C, size, size)`` uint8.

        Raises:
            TypeError: If the image is not of bytes.
            ValueError: If a shape is another one.
        """
        _check_image_and_draws(self, image, draws)
        shorter = min(image.shape[1:])
        image = _cut_ends(image, _LONGEST * shorter)
        height, width = (int(self.resize * side / shorter) for side in image.shape[1:])
        top, left = (round((side - self.size) / 2) for side in (height, width))
        resized = resize(image, height, width)
        return resized[:, top : top + self.size, left : left + self.size]


@dataclass(frozen=True)
class Whole(View):
    """The whole image, its shorter side resized; masks keep the size of the truth.

    Args:
        shorter_side: Pixels; None keeps the size of each image.
    """

    one_size = False
    num_draws = 0

    shorter_side: int | None = None

    def __call__(self, image: Tensor, draws: Tensor) -> Tensor:
        """Resize ``(C, H, W)`` uint8 bilinearly, with smoothing where it shrinks."""
        height, width = self.size_of(*image.shape[1:])
        return resize(image, height, width)

    def move(self, mask: Tensor, draws: Tensor) -> Tensor:
        """Return the mask."""
        return mask

    def size_of(self, height: int, width: int) -> tuple[int, int]:
        """Return height and width of the picture of an image.

        >>> Whole(360).size_of(720, 961), Whole().size_of(720, 961)
        ((360, 480), (720, 961))
        """
        factor = (self.shorter_side or min(height, width)) / min(height, width)
        return round(height * factor), round(width * factor)


@dataclass(frozen=True)
class Exactly(View):
    """Images that have the size of the picture already, as they are.

    Args:
        height: In pixels.
        width: Likewise.
    """

    num_draws = 0

    height: int
    width: int

    def __call__(self, image: Tensor, draws: Tensor) -> Tensor:
        """Return the image.

        Raises:
            ValueError: If it has another size.
        """
        if image.shape[1:] != (self.height, self.width):
            height, width = image.shape[1:]
            raise ValueError(
                f"Exactly: expected an image of {self.height} x {self.width} pixels, got {height} "
                f"x {width}"
            )
        return image


@dataclass(frozen=True)
class SeveralViews(View):
    """The same view of an image several times, each with draws of its own.

    The file is read and decoded once. The pipeline of a run does not call :meth:`draw`: it draws
    for each view from a generator of its own, so that the first sees what it would see alone.

    Args:
        view: Of which.
        num_views: V.

    Raises:
        TypeError: If ``num_views`` is not an int.
        ValueError: If it is below 1.
    """

    view: View
    num_views: int

    def __post_init__(self) -> None:
        check_positive_int("SeveralViews", num_views=self.num_views)

    @property
    def num_draws(self) -> int:
        """Those of the view, V times."""
        return self.view.num_draws * self.num_views

    def __call__(self, image: Tensor, draws: Tensor) -> Tensor:
        """View an image.

        Args:
            image: ``(C, H, W)`` uint8.
            draws: ``(num_draws,)``, the row of :meth:`draw` for this image.

        Returns:
            ``(V, C, h, w)`` uint8.

        Raises:
            ValueError: If ``draws`` have another shape.
        """
        check_shapes("SeveralViews", draws=(draws, str(self.num_draws)))
        return torch.stack([self.view(image, own) for own in draws.view(self.num_views, -1)])

    def move(self, mask: Tensor, draws: Tensor) -> Tensor:
        """Move a mask along with the first view: ``(h, w)``."""
        return self.view.move(mask, draws.view(self.num_views, -1)[0])

    def choose_draws(self, mask: Tensor, draws: Tensor) -> Tensor:
        """Let each view choose."""
        return torch.cat(
            [self.view.choose_draws(mask, own) for own in draws.view(self.num_views, -1)]
        )


def _check_interval(name: str, interval: tuple[float, float]) -> None:
    wanted = f"RandomResizedCrop: expected `{name}` to be two finite numbers, 0 < lowest <= highest"
    if not isinstance(interval, tuple | list):
        raise TypeError(f"{wanted}, got {interval!r}")
    for value in interval:
        check_number("RandomResizedCrop", name, value)
    if len(interval) != 2 or not 0 < interval[0] <= interval[1] < math.inf:
        raise ValueError(f"{wanted}, got {interval!r}")


def _check_image_and_draws(view: View, image: Tensor, draws: Tensor) -> None:
    function = type(view).__name__
    check_shapes(function, image=(image, "C H W"), draws=(draws, str(view.num_draws)))
    check_floating(function, draws=draws)
    if image.dtype != torch.uint8:
        raise TypeError(f"{function}: expected `image` of dtype torch.uint8, got {image.dtype}")
    if image.numel() == 0:
        raise ValueError(f"{function}: expected an image with pixels, got {tuple(image.shape)}")


def _cut_ends(image: Tensor, longest: int) -> Tensor:
    """Take as much from both ends of a side as leaves ``longest`` pixels, or one more."""
    rows, columns = (max(0, side - longest) // 2 for side in image.shape[1:])
    return image[:, rows : image.shape[1] - rows, columns : image.shape[2] - columns]


def resize(image: Tensor, height: int, width: int) -> Tensor:
    """Resize ``(C, H, W)`` bilinearly, with smoothing where it shrinks."""
    size = (height, width)
    if image.shape[1:] == size:
        return image
    return F.interpolate(image.unsqueeze(0), size=size, mode="bilinear", antialias=True).squeeze(0)


def resize_mask(mask: Tensor, height: int, width: int) -> Tensor:
    """Resize ``(H, W)`` to the nearest pixel."""
    size = (height, width)
    if mask.shape == size:
        return mask
    return F.interpolate(mask[None, None], size=size, mode="nearest-exact")[0, 0]


def _interpolate(lowest: float, highest: float, uniform: float) -> float:
    return lowest + (highest - lowest) * uniform


def _uniform_numbers(seed: int) -> Iterator[float]:
    """Yield numbers in [0, 1) with 53 bits, by SplitMix64.

    Source: Steele, Lea and Flood, 2014, https://doi.org/10.1145/2660193.2660195, figure 17
    """
    mask = 2**64 - 1
    while True:
        seed = (seed + 0x9E3779B97F4A7C15) & mask
        mixed = ((seed ^ (seed >> 30)) * 0xBF58476D1CE4E5B9) & mask
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & mask
        yield ((mixed ^ (mixed >> 31)) >> 11) * 2.0**-53
