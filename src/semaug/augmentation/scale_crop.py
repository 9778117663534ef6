"""Random scale, crop and mirror image of a whole batch, to train networks for segmentation."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from semaug._torch.checks import check_at_least, check_bool, check_number, check_positive_int
from semaug.augmentation.color import ColorJitter, check_jitter
from semaug.augmentation.compose import Compose
from semaug.augmentation.operator import (
    Augmentation,
    check_fill,
    check_images_and_draws,
    check_masks_and_draws,
    fill_of,
    in_pieces,
)
from semaug.data.image_set import IGNORED, DataSet, FileSet
from semaug.data.views import View, Whole, resize_mask
from semaug.errors import UserError, as_recipe_error, check_option
from semaug.registry import augmentations

# N images of C channels, H and W pixels; crops of h and w pixels.

_TRIES = 10  # as in mmsegmentation


@dataclass(frozen=True)
class RandomScaleCrop(Augmentation):
    """Resize each image by a factor of its own, crop it at a random place, mirror every second one.

    The factor is uniform in ``scale``, or one of its steps. Images are resized bilinearly, without
    smoothing before they shrink, and masks to the nearest pixel: as
    ``torch.nn.functional.interpolate`` does with ``mode="bilinear"`` and
    ``mode="nearest-exact"``, but for rounding. A side that has become
    shorter than the crop lies at a random place in it. With ``rotation``, every second image is
    turned about its middle after it was resized; which pixel of a mask is nearest may then depend
    on how a device rounds. With ``max_class_share``, :meth:`choose_draws`
    looks for another place of a crop that one class fills.

    Source: Chen et al., 2016, https://arxiv.org/abs/1606.00915, section 4.3; Zhao et al., CVPR
    2017, https://arxiv.org/abs/1612.01105, section 5.1; ``cat_max_ratio`` of mmsegmentation 1.2.2

    Args:
        size: Height and width of the crop, one number if they are equal.
        scale: Lowest and highest factor.
        flip: Whether to mirror left and right, with probability one half.
        fill: What lies around a small image, for all channels or for each.
        step: Distance between factors, from the lowest on; 0 takes all between.
        rotation: Largest angle, in degrees; 0 turns none.
        max_class_share: Largest share of the labeled pixels of a crop that one class may have; 1
            takes every crop.

    Raises:
        TypeError: If a size is not an int, a factor or ``fill`` not a number, ``flip`` not a bool.
        ValueError: If there are not one or two sizes, one is below 1, ``scale`` is not two numbers
            0 < lowest <= highest, ``fill`` not finite, ``step`` or ``rotation`` negative, or
            ``max_class_share`` not above 0 and at most 1.
    """

    size: int | tuple[int, int]
    scale: tuple[float, float] = (0.5, 2.0)
    flip: bool = True
    fill: float | tuple[float, ...] = 0
    step: float = 0.0
    rotation: float = 0.0
    max_class_share: float = 1.0

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
        for name in ("step", "rotation"):
            check_number("RandomScaleCrop", name, getattr(self, name))
            check_at_least("RandomScaleCrop", name, getattr(self, name), 0)
        check_number("RandomScaleCrop", "max_class_share", self.max_class_share)
        if not 0 < self.max_class_share <= 1:
            raise ValueError(
                f"RandomScaleCrop: expected 0 < `max_class_share` <= 1, got {self.max_class_share}"
            )

    @property
    def draw_names(self) -> tuple[str, ...]:
        """What each draw decides about; the flip is drawn with ``flip`` off too."""
        first = ("scale", "crop", "crop", "flip", *["rotation"] * (self.rotation > 0))
        return (*first, *["crop"] * (2 * _TRIES * self.masks_choose))

    @property
    def num_draws(self) -> int:
        """Four, one for the rotation, and two for each other place of a crop."""
        return len(self.draw_names)

    def __call__(self, images: Tensor, draws: Tensor) -> Tensor:
        """Augment a batch.

        Args:
            images: ``(N, C, H, W)`` uint8 or floating-point.
            draws: ``(N, num_draws)``, the rows of :meth:`draw` for these images. On an accelerator
                they should lie there already: moving them makes the host wait.

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
            draws: ``(N, num_draws)``, those of the images.

        Returns:
            ``(N, h, w)``, 255 outside of the mask.

        Raises:
            TypeError: If a dtype is another one.
            ValueError: If shapes disagree.
        """
        check_masks_and_draws(self, masks, draws)
        draws = draws.to(masks.device)
        if self.rotation:
            rows, columns, inside = self._turned(draws, masks.shape[1:])
            pixels = rows.long() * masks.shape[2] + columns.long()
            moved = masks.flatten(1).gather(1, pixels.flatten(1)).view(pixels.shape)
            return torch.where(inside.squeeze(1), moved, IGNORED)
        places, inside = self._places(draws, masks.shape[1:])
        moved = masks.contiguous().unsqueeze(1)
        for dim, (numerator, denominator) in zip((2, 3), places, strict=True):
            moved = _take(moved, numerator // denominator, dim)
        return torch.where(inside, moved, IGNORED).squeeze(1)

    @property
    def masks_choose(self) -> bool:
        """Whether there is a limit for one class."""
        return self.max_class_share < 1

    def choose_draws(self, masks: Tensor, draws: Tensor) -> Tensor:
        """Take the first of ten places of a crop whose labels satisfy ``max_class_share``.

        A crop with labels of one class alone never does. Where all ten places fail, an eleventh is
        taken unseen.

        Args:
            masks: ``(N, H, W)`` of an integer dtype that holds 255.
            draws: ``(N, num_draws)``, those of the images.

        Returns:
            ``(N, num_draws)``, with the place that was chosen in front.

        Raises:
            TypeError: If a dtype is another one.
            ValueError: If shapes disagree.
        """
        if not self.masks_choose:
            return draws
        check_masks_and_draws(self, masks, draws)
        chosen = draws.clone()
        found = torch.zeros(len(draws), 1, dtype=torch.bool, device=draws.device)
        for place in draws[:, -2 * _TRIES :].split(2, dim=1):
            found |= self._is_mixed(self.move(masks, chosen))
            chosen[:, 1:3] = torch.where(found, chosen[:, 1:3], place)
            if found.device.type == "cpu" and found.all():  # others would wait to know
                break
        return chosen

    def _is_mixed(self, masks: Tensor) -> Tensor:
        """Whether no class has too many labels of a crop, ``(N, 1)`` bool."""
        counts = torch.zeros(len(masks), IGNORED + 1, device=masks.device)
        labels = masks.flatten(1).long()
        counts.scatter_add_(1, labels, counts.new_ones(()).expand_as(labels))
        counts[:, IGNORED] = 0
        share = counts.amax(dim=1, keepdim=True) / counts.sum(dim=1, keepdim=True).clamp(min=1)
        several = (counts > 0).sum(dim=1, keepdim=True) > 1
        return several & (share < self.max_class_share)

    def _crop_images(self, fill: Tensor, images: Tensor, draws: Tensor) -> Tensor:
        if self.rotation:
            rows, columns, inside = self._turned(draws, images.shape[2:])
            mixed = _sample(images, rows, columns)
        else:
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
        places, inside = [], []
        for length, (place, resized) in zip(lengths, self._crops(draws, lengths), strict=True):
            inside.append((place >= 0) & (place < resized))
            place = torch.minimum(place.clamp_(min=0), resized - 1)
            places.append(((2 * place + 1) * length, 2 * resized))
        return places, (inside[0].unsqueeze(2) & inside[1].unsqueeze(1)).unsqueeze(1)

    def _crops(self, draws: Tensor, lengths: Sequence[int]) -> list[tuple[Tensor, Tensor]]:
        """Return which rows and columns of the resized image a crop has, and how many there are.

        Returns:
            Int64 ``(N, h)`` or ``(N, w)``, also outside of the image, and ``(N, 1)``.
        """
        low, high = self.scale
        scale = low + (high - low) * draws[:, :1]
        if self.step:
            count = round((high - low) / self.step) + 1
            scale = low + self.step * (draws[:, :1] * count).floor()
        sizes = self.size if isinstance(self.size, tuple) else (self.size, self.size)
        crops = []
        for axis, (length, wanted) in enumerate(zip(lengths, sizes, strict=True)):
            resized = (length * scale).round_().clamp_(min=1).long()  # (N, 1)
            gap = resized - wanted
            start = (draws[:, 1 + axis : 2 + axis] * (gap.abs() + 1)).long() * gap.sign()
            place = torch.arange(wanted, device=draws.device) + start
            if axis == 1 and self.flip:
                place = torch.where(draws[:, 3:4] < 0.5, place.flip(1), place)
            crops.append((place, resized))
        return crops

    def _turned(self, draws: Tensor, lengths: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
        """Return where the middles of the pixels of a crop lie in an image that is turned too.

        Returns:
            Distances from the top and from the left border in pixels of the image, inside of it,
            ``(N, h, w)`` each, and ``(N, 1, h, w)`` bool, whether they were inside.
        """
        chance = draws[:, 4].view(-1, 1, 1)
        angle = torch.where(chance < 0.5, 4 * chance - 1, 0) * math.radians(self.rotation)
        sine, cosine = angle.sin(), angle.cos()
        # From the middle of the resized image, which is turned about it.
        down, right = (
            (place + 0.5 - resized / 2).unsqueeze(2 - axis)
            for axis, (place, resized) in enumerate(self._crops(draws, lengths))
        )
        turned = cosine * down - sine * right, sine * down + cosine * right
        inside, places = torch.tensor(True, device=draws.device), []
        for own, length, (_, resized) in zip(
            turned, lengths, self._crops(draws, lengths), strict=True
        ):
            share = own / resized.unsqueeze(2) + 0.5
            inside = inside & (share >= 0) & (share < 1)
            places.append((share * length).clamp(0, length - 0.5))
        return places[0], places[1], inside.unsqueeze(1)


@dataclass(frozen=True)
class CropView(View):
    """A random crop of an image and of its mask, where they are decoded.

    Args:
        crop: What is done with an image after it was resized.
        shorter_side: To which images are resized before, with smoothing; None keeps their size.
    """

    crop: RandomScaleCrop
    shorter_side: int | None = None

    @property
    def num_draws(self) -> int:
        """Those of the crop."""
        return self.crop.num_draws

    def __call__(self, image: Tensor, draws: Tensor) -> Tensor:
        """Crop ``(C, H, W)`` uint8."""
        resized = Whole(self.shorter_side)(image, draws)
        return self.crop(resized.unsqueeze(0), draws.unsqueeze(0)).squeeze(0)

    def move(self, mask: Tensor, draws: Tensor) -> Tensor:
        """Crop the mask ``(H, W)`` of an image as the image."""
        return self.crop.move(self._resized(mask), draws.unsqueeze(0)).squeeze(0)

    def choose_draws(self, mask: Tensor, draws: Tensor) -> Tensor:
        """Choose the place of the crop by the mask."""
        if not self.crop.masks_choose:
            return draws
        return self.crop.choose_draws(self._resized(mask), draws.unsqueeze(0)).squeeze(0)

    def _resized(self, mask: Tensor) -> Tensor:
        return resize_mask(mask, *Whole(self.shorter_side).size_of(*mask.shape)).unsqueeze(0)


@augmentations.register("scale_crop")
@dataclass(frozen=True, kw_only=True)
class ScaleCrop:
    """Random scale, rotation, crop, mirror image and colors, of images and of masks.

    Args:
        size: Height and width of the crop; one number if they are equal. Networks that align
            corners want a multiple of their stride and 1 more, such as 769.
        scale: Lowest and highest factor by which images are resized.
        scale_step: Distance between factors, such as 0.1; 0 takes all between.
        flip: Whether images are mirrored with probability one half.
        rotation: Largest angle in degrees by which every second image is turned; 0 turns none.
        max_class_share: Largest share of the labeled pixels of a crop that one class may have; up
            to ten other places of the crop are tried. 1 takes every crop.
        jitter: Largest change of brightness, contrast, saturation and hue, up to four numbers;
            empty is no jitter.
        shorter_side: To which images that lie in files are resized before, to train and to test;
            the truth of the test keeps its size. None keeps that of the images.

    Raises:
        UserError: If a number is out of range.
    """

    size: tuple[int, ...]
    scale: tuple[float, ...] = (0.5, 2.0)
    scale_step: float = 0.0
    flip: bool = True
    rotation: float = 0.0
    max_class_share: float = 1.0
    jitter: tuple[float, ...] = ()
    shorter_side: int | None = None

    def __post_init__(self) -> None:
        self._crop(fill=0)
        check_jitter(self.jitter)
        side = self.shorter_side
        check_option("shorter_side", side, side is None or side >= 1, ">= 1 or none")

    def build(self, data: DataSet) -> Augmentation:
        """Return what happens to images on the device; around a small one lies the mean color.

        Those that lie in files are cropped already, where they were decoded.

        Raises:
            UserError: If images in memory are to be resized.
        """
        in_files = isinstance(data.train, FileSet)
        if not in_files and self.shorter_side is not None:
            raise UserError(
                "recipe: `shorter_side` has no effect, for images of "
                f"data={data.name} lie in memory"
            )
        colors = [ColorJitter(*self.jitter)] if any(self.jitter) else []
        if in_files:
            return Compose(*colors)
        crop = self._crop(fill=data.mean_color)
        return Compose(crop, *colors) if colors else crop

    def train_view(self, data: DataSet) -> View:
        """Return how images that lie in files are cropped to train on, where they are decoded."""
        return CropView(self._crop(fill=data.mean_color), self.shorter_side)

    def test_view(self) -> View:
        """Return how images that lie in files are shown in the test."""
        return Whole(self.shorter_side)

    def _crop(self, fill: float | tuple[float, ...]) -> RandomScaleCrop:
        size: Any = self.size[0] if len(self.size) == 1 else self.size
        scale: Any = self.scale
        with as_recipe_error():
            return RandomScaleCrop(
                size,
                scale,
                self.flip,
                fill,
                self.scale_step,
                self.rotation,
                self.max_class_share,
            )


def _sample(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Return values between the pixels of images, float32 or better.

    Args:
        images: ``(N, C, H, W)``.
        rows: ``(N, h, w)``, distances from the top border, in pixels.
        columns: Likewise, from the left one.
    """
    dtype = torch.promote_types(images.dtype, torch.float32)
    shares = [x / length for x, length in zip((columns, rows), images.shape[:1:-1], strict=True)]
    grid = (2 * torch.stack(shares, dim=3) - 1).to(dtype)
    return F.grid_sample(images.to(dtype), grid, padding_mode="border", align_corners=False)


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
