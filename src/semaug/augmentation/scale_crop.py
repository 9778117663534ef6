"""Random scale, crop and mirror image of a whole batch, to train networks for segmentation."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from semaug._torch.checks import check_bool, check_number, check_positive_int
from semaug.augmentation.operator import (
    Augmentation,
    check_fill,
    check_images_and_draws,
    check_masks_and_draws,
    fill_of,
    in_pieces,
)
from semaug.data.image_set import IGNORED, DataSet
from semaug.errors import as_user_error
from semaug.registry import augmentations

# N images of C channels, H and W pixels; crops of h and w pixels.


@dataclass(frozen=True)
class RandomScaleCrop(Augmentation):
    """Resize each image by a factor of its own, crop it at a random place, mirror every second one.

    The factor is uniform in ``scale``. Images are resized bilinearly, without smoothing before
    they shrink, and masks to the nearest pixel: as ``torch.nn.functional.interpolate`` does with
    ``mode="bilinear"`` and ``mode="nearest-exact"``, but for rounding. A side that has become
    shorter than the crop lies at a random place in it.

    Source: Chen et al., 2016, https://arxiv.org/abs/1606.00915, section 4.3; Zhao et al., CVPR
    2017, https://arxiv.org/abs/1612.01105, section 5.1

    Args:
        size: Height and width of the crop, one number if they are equal.
        scale: Lowest and highest factor.
        flip: Whether to mirror left and right, with probability one half.
        fill: What lies around a small image, for all channels or for each.

    Raises:
        TypeError: If a size is not an int, a factor or ``fill`` not a number, ``flip`` not a bool.
        ValueError: If there are not one or two sizes, one is below 1, ``scale`` is not two numbers
            0 < lowest <= highest, or ``fill`` not finite.
    """

    draw_names = ("scale", "crop", "crop", "flip")
    num_draws = len(draw_names)  # the flip is drawn with ``flip`` off too

    size: int | tuple[int, int]
    scale: tuple[float, float] = (0.5, 2.0)
    flip: bool = True
    fill: float | tuple[float, ...] = 0

    def __post_init__(self) -> None:
        sizes = self.size if isinstance(self.size, tuple) else (self.size, self.size)
        for name, pair in (("size", sizes), ("scale", self.scale)):
            if not isinstance(pair, tuple) or len(pair) != 2:
                raise ValueError(f"RandomScaleCrop: expected two numbers `{name}`, got {pair}")
        for size, factor in zip(sizes, self.scale, strict=True):
            check_positive_int("RandomScaleCrop", size=size)
            check_number("RandomScaleCrop", "scale", factor)
        if not 0 < self.scale[0] <= self.scale[1] < float("inf"):
            raise ValueError(
                f"RandomScaleCrop: expected `scale` with 0 < lowest <= highest, got {self.scale}"
            )
        check_bool("RandomScaleCrop", "flip", self.flip)
        check_fill("RandomScaleCrop", self.fill)

    def __call__(self, images: Tensor, draws: Tensor) -> Tensor:
        """Augment a batch.

        Args:
            images: ``(N, C, H, W)`` uint8 or floating-point.
            draws: ``(N, 4)``, the rows of :meth:`draw` for these images. On an accelerator they
                should lie there already: moving them makes the host wait.

        Returns:
            ``(N, C, h, w)`` of the same dtype, contiguous.

        Raises:
            TypeError: If images are neither bytes nor floating-point numbers, or ``draws`` are no
                floating-point numbers.
            ValueError: If shapes disagree, or ``fill`` does not fit the images.
        """
        check_images_and_draws(self, images, draws)
        if images.dtype != torch.uint8 and not images.is_floating_point():
            raise TypeError(
                "RandomScaleCrop: expected `images` of bytes or of a floating-point dtype, got "
                f"{images.dtype}"
            )
        numbers = fill_of("RandomScaleCrop", self.fill, images)
        fill = torch.cat([images.new_full((1, 1, 1), number) for number in numbers])
        draws = draws.to(images.device)
        return in_pieces(partial(self._crop_images, fill), images.contiguous(), draws)

    def move(self, masks: Tensor, draws: Tensor) -> Tensor:
        """Resize masks to the nearest pixel, crop and mirror them as images.

        Args:
            masks: ``(N, H, W)`` of an integer dtype that holds 255.
            draws: ``(N, 4)``, those of the images.

        Returns:
            ``(N, h, w)``, 255 outside of the mask.

        Raises:
            TypeError: If a dtype is another one.
            ValueError: If shapes disagree.
        """
        check_masks_and_draws(self, masks, draws)
        places, inside = self._places(draws.to(masks.device), masks.shape[1:])
        moved = masks.contiguous().unsqueeze(1)
        for dim, (numerator, denominator) in zip((2, 3), places, strict=True):
            moved = _take(moved, numerator // denominator, dim)
        return torch.where(inside, moved, IGNORED).squeeze(1)

    def _crop_images(self, fill: Tensor, images: Tensor, draws: Tensor) -> Tensor:
        places, inside = self._places(draws, images.shape[2:])
        mixed = images
        for dim, (numerator, denominator) in zip((2, 3), places, strict=True):
            mixed = _interpolate(mixed, numerator / denominator - 0.5, dim)
        if images.dtype == torch.uint8:
            mixed = mixed.round_()
        return torch.where(inside, mixed.to(images.dtype), fill)

    def _places(
        self, draws: Tensor, lengths: Sequence[int]
    ) -> tuple[list[tuple[Tensor, Tensor]], Tensor]:
        """Return where the middles of the pixels of a crop lie in its image, and whether they do.

        In whole numbers, for masks must not depend on how a device rounds.

        Returns:
            Of rows and of columns, the distance from the border in pixels of the image, as
            numerators ``(N, h)`` or ``(N, w)`` and denominators ``(N, 1)``, int64; and
            ``(N, 1, h, w)`` bool.
        """
        low, high = self.scale
        scale = low + (high - low) * draws[:, :1]
        sizes = self.size if isinstance(self.size, tuple) else (self.size, self.size)
        places, inside = [], []
        for axis, (length, wanted) in enumerate(zip(lengths, sizes, strict=True)):
            resized = (length * scale).round_().clamp_(min=1).long()  # (N, 1)
            gap = resized - wanted
            start = (draws[:, 1 + axis : 2 + axis] * (gap.abs() + 1)).long() * gap.sign()
            place = torch.arange(wanted, device=draws.device) + start  # in the resized image
            if axis == 1 and self.flip:
                place = torch.where(draws[:, 3:] < 0.5, place.flip(1), place)
            inside.append((place >= 0) & (place < resized))
            place = torch.minimum(place.clamp_(min=0), resized - 1)
            places.append(((2 * place + 1) * length, 2 * resized))
        return places, (inside[0].unsqueeze(2) & inside[1].unsqueeze(1)).unsqueeze(1)


@augmentations.register("scale_crop")
@dataclass(frozen=True, kw_only=True)
class ScaleCrop:
    """Random scale, crop and mirror image, of images and of masks.

    Args:
        size: Height and width of the crop; one number if they are equal.
        scale: Lowest and highest factor by which images are resized.
        flip: Whether images are mirrored with probability one half.

    Raises:
        UserError: If a number is out of range.
    """

    size: tuple[int, ...]
    scale: tuple[float, ...] = (0.5, 2.0)
    flip: bool = True

    def __post_init__(self) -> None:
        self._build(fill=0)

    def build(self, data: DataSet) -> Augmentation:
        """Return what happens to images on the device; around a small one lies the mean color."""
        return self._build(fill=data.mean_color)

    def _build(self, fill: float | tuple[float, ...]) -> RandomScaleCrop:
        size: Any = self.size[0] if len(self.size) == 1 else self.size
        scale: Any = self.scale
        with as_user_error("recipe: ", ValueError):
            return RandomScaleCrop(size, scale, self.flip, fill)


def _interpolate(images: Tensor, places: Tensor, dim: int) -> Tensor:
    """Return values between the rows (``dim`` 2) or columns (3) of images, float32 or better."""
    last = images.shape[dim] - 1
    places = places.clamp(0, last)
    low = places.floor()
    dtype = torch.promote_types(images.dtype, torch.float32)
    share = (places - low).to(dtype).unsqueeze(1).unsqueeze(5 - dim)
    low = low.long()
    lower, upper = (_take(images, x, dim).to(dtype) for x in (low, (low + 1).clamp_(max=last)))
    return torch.lerp(lower, upper, share)


def _take(images: Tensor, places: Tensor, dim: int) -> Tensor:
    """Take rows (``dim`` 2) or columns (3) of contiguous images, all channels of one alike."""
    num_images, num_channels, height, width = images.shape
    if dim == 3:
        columns = places.unsqueeze(1).unsqueeze(1).expand(-1, num_channels, height, -1)
        return images.gather(3, columns)
    # Rows are whole in memory, and copied much faster so.
    first = torch.arange(num_images * num_channels, device=images.device) * height
    row = first.view(num_images, num_channels, 1) + places.unsqueeze(1)
    lines = images.view(-1, width).index_select(0, row.flatten())
    return lines.view(num_images, num_channels, places.shape[1], width)
