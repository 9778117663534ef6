"""Random crops, shifts and mirror images of a whole batch, each image with its own draws."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from semaug._torch.checks import check_bool, check_int, check_one_of
from semaug.augmentation.operator import (
    Augmentation,
    check_images_and_draws,
    check_masks_and_draws,
)
from semaug.data.image_set import IGNORED

# N images of C channels, H and W pixels.


class _Shift(Augmentation):
    """Pad each image, cut out its old size at a random place, and mirror every second one.

    A subclass has fields ``padding_mode`` and, under the name of ``pixels_field``, how many pixels
    are padded on each side.
    """

    pixels_field: ClassVar[str]

    padding_mode: str
    flip: bool

    def __post_init__(self) -> None:
        function = type(self).__name__
        check_int(function, self.pixels_field, getattr(self, self.pixels_field), 0)
        check_one_of(function, "padding_mode", self.padding_mode, _PAD)
        check_bool(function, "flip", self.flip)

    def __call__(self, images: Tensor, draws: Tensor) -> Tensor:
        """Augment a batch.

        Args:
            images: ``(N, C, H, W)`` of any dtype and memory format.
            draws: ``(N, num_draws)``, the rows of :meth:`draw` for these images. On an
                accelerator they should lie there already: moving them makes the host wait.

        Returns:
            ``(N, C, H, W)`` of the same dtype, contiguous.

        Raises:
            TypeError: If ``draws`` are not floating-point numbers.
            ValueError: If shapes disagree, or more is padded than the longer side of the
                images, or for ``"reflect"`` not less than the shorter one.
        """
        check_images_and_draws(self, images, draws)
        return self._shifted(images, draws, fill=0)

    def move(self, masks: Tensor, draws: Tensor) -> Tensor:
        """Move masks as images; reflected pixels keep their label.

        Args:
            masks: ``(N, H, W)`` of an integer dtype that holds 255.
            draws: ``(N, num_draws)``, those of the images.

        Returns:
            ``(N, H, W)``, 255 outside of the mask.

        Raises:
            TypeError: If a dtype is another one.
            ValueError: If shapes disagree, or what is padded does not fit the masks.
        """
        check_masks_and_draws(self, masks, draws)
        return self._shifted(masks.unsqueeze(1), draws, fill=IGNORED).squeeze(1)

    def _shifted(self, images: Tensor, draws: Tensor, *, fill: int) -> Tensor:
        """Pad, crop where columns 0 and 1 of ``draws`` say, mirror where column 2 does."""
        padding = self._fitting_padding(*images.shape[-2:])
        if len(images) == 0:
            return images.contiguous()
        padded = _PAD[self.padding_mode](images.contiguous(), padding, fill)
        draws = draws.to(images.device)
        top, left = (draws[:, :2] * (2 * padding + 1)).long().unbind(1)  # 0..2 * padding
        source = torch.arange(len(images), device=images.device)
        if self.flip:
            # A crop mirrored is a crop of the mirrored image, as far from its other side. So
            # both images lie ready and one copy of rows does everything.
            mirrored = draws[:, 2] < 0.5
            padded = torch.cat([padded, padded.flip(-1)])
            source = source + mirrored * len(images)
            left = torch.where(mirrored, 2 * padding - left, left)
        return _crop(padded, source, top, left, height=images.shape[-2], width=images.shape[-1])

    def _fitting_padding(self, height: int, width: int) -> int:
        """Refuse what would only add crops without any of the image, and fill the memory."""
        name, padding = self.pixels_field, getattr(self, self.pixels_field)
        reflects = self.padding_mode == "reflect" and padding >= min(height, width)
        if reflects or padding > max(height, width):
            at_most = "at most the size of the images"
            wanted = "below the size of the images to reflect them" if reflects else at_most
            raise ValueError(
                f"{type(self).__name__}: expected `{name}` {wanted}, "
                f"got {name} {padding} for {height} x {width} pixels"
            )
        return padding


@dataclass(frozen=True)
class CropFlip(_Shift):
    """Pad each image, crop it at a random place to its old size, and mirror every second one.

    The augmentation of nearly all networks on CIFAR: Lee et al., arXiv:1409.5185; He et al.,
    arXiv:1512.03385, section 4.2.

    Args:
        padding: Pixels on each of the four sides; 0 leaves the image where it is.
        padding_mode: ``"zero"``, or ``"reflect"``, which mirrors the image at its border
            pixels without repeating them.
        flip: Whether to mirror left and right, with probability one half.

    Raises:
        TypeError: If ``padding`` is not an int or ``flip`` not a bool.
        ValueError: If ``padding`` is negative or ``padding_mode`` unknown.
    """

    pixels_field = "padding"
    draw_names = ("crop", "crop", "flip")
    num_draws = len(draw_names)  # the flip is drawn with ``flip`` off too

    padding: int = 4
    padding_mode: str = "zero"
    flip: bool = True


@dataclass(frozen=True)
class Translate(_Shift):
    """Shift each image by up to ``pixels`` pixels up or down, and left or right.

    Every one of the ``(2 * pixels + 1) ** 2`` shifts is equally likely, as in a
    :class:`CropFlip` of that padding without the flip. Two pixels are usual for SVHN and
    semi-supervised training (Laine & Aila, arXiv:1610.02242, appendix A).

    Args:
        pixels: The largest shift; 0 leaves the image where it is.
        padding_mode: What comes in from outside: ``"zero"``, or ``"reflect"``, which mirrors
            the image at its border pixels without repeating them.

    Raises:
        TypeError: If ``pixels`` is not an int.
        ValueError: If ``pixels`` is negative or ``padding_mode`` unknown.
    """

    pixels_field = "pixels"
    num_draws = 2  # vertical shift, horizontal shift
    flip = False

    pixels: int = 2
    padding_mode: str = "zero"


def _pad_by_reflection(images: Tensor, padding: int, fill: int) -> Tensor:
    """Pad by indexing, since the operator of torch does not take bytes."""
    rows, columns = (_reflected(size, padding, images.device) for size in images.shape[-2:])
    return images.index_select(2, rows).index_select(3, columns)


def _reflected(size: int, padding: int, device: torch.device) -> Tensor:
    """Return the indices padding..1, 0..size-1, size-2..size-1-padding."""
    places = torch.arange(-padding, size + padding, device=device).abs()
    return (size - 1) - (size - 1 - places).abs()


_PAD: dict[str, Callable[[Tensor, int, int], Tensor]] = {
    "zero": lambda images, padding, fill: F.pad(images, (padding,) * 4, value=fill),
    "reflect": _pad_by_reflection,
}


def _crop(
    padded: Tensor, source: Tensor, top: Tensor, left: Tensor, *, height: int, width: int
) -> Tensor:
    """Cut one piece for each of N entries of ``source``, ``top`` and ``left``.

    A line of a crop is ``width`` neighbors in memory. All such windows are the rows of an
    overlapping view, so one row lookup copies all lines of all images: several times faster
    than looking up pixels.
    """
    _, num_channels, rows, columns = padded.shape
    channel = torch.arange(num_channels, device=padded.device).unsqueeze(1)
    line = channel * rows + torch.arange(height, device=padded.device)  # (C, H)
    corner = (source * num_channels * rows + top) * columns + left  # (N,)
    start = corner.view(-1, 1, 1) + line * columns  # (N, C, H)
    windows = padded.flatten().unfold(0, width, 1)
    lines = windows.index_select(0, start.flatten())
    return lines.view(len(source), num_channels, height, width)
