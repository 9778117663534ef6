"""Random crop and flip of a whole batch, each image with its own draw, on its device.

What is drawn depends on the place of an image in its set and on nothing else: numbers for
one epoch are drawn at once, on the CPU. Batch size, device, number of processes and the
moment at which a run was resumed change nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from semaug._checks import check_at_least, check_floating, check_one_of, check_shapes

__all__ = ["CropFlip", "epoch_order", "normalize"]

# N images of C channels, H and W pixels.

_NUM_DRAWS = 3  # vertical place, horizontal place, flip


@dataclass(frozen=True)
class CropFlip:
    """Pad each image, crop it at a random place to its old size, and mirror every second one.

    Args:
        padding: Pixels on each of the four sides; 0 leaves the image where it is.
        padding_mode: ``"zero"``, or ``"reflect"``, which mirrors the image at its border
            pixels without repeating them.
        flip: Whether to mirror left and right, with probability one half.

    Raises:
        ValueError: If ``padding`` is negative or ``padding_mode`` unknown.
    """

    padding: int = 4
    padding_mode: str = "zero"
    flip: bool = True

    def __post_init__(self) -> None:
        check_at_least("CropFlip", "padding", self.padding, 0)
        check_one_of("CropFlip", "padding_mode", self.padding_mode, ("zero", "reflect"))

    def draw(self, num_images: int, generator: torch.Generator) -> Tensor:
        """Draw the decisions of one epoch, one row for each image of the set.

        Args:
            num_images: Size of the set.
            generator: On the CPU.

        Returns:
            ``(num_images, 3)`` float32, uniform in [0, 1), on the CPU.
        """
        return torch.rand(num_images, _NUM_DRAWS, generator=generator)

    def __call__(self, images: Tensor, draws: Tensor) -> Tensor:
        """Augment a batch.

        Args:
            images: ``(N, C, H, W)`` of any dtype and memory format.
            draws: ``(N, 3)``, the rows of :meth:`draw` for these images. On an accelerator
                they should lie there already: moving them makes the host wait.

        Returns:
            ``(N, C, H, W)`` of the same dtype, contiguous.

        Raises:
            TypeError: If ``draws`` are not floating-point numbers.
            ValueError: If shapes disagree, or ``"reflect"`` asks for more than there is.
        """
        check_shapes("CropFlip", images=(images, "N C H W"), draws=(draws, "N 3"))
        check_floating("CropFlip", draws=draws)
        if self.padding_mode == "reflect" and self.padding >= min(images.shape[-2:]):
            raise ValueError(
                f"CropFlip: expected `padding` below the size of the images to reflect them, "
                f"got padding {self.padding} for {images.shape[-2]} x {images.shape[-1]} pixels"
            )
        if len(images) == 0:
            return images.contiguous()
        padded = _PAD[self.padding_mode](images.contiguous(), self.padding)
        draws = draws.to(images.device)
        top, left = (draws[:, :2] * (2 * self.padding + 1)).long().unbind(1)  # 0..2 * padding
        source = torch.arange(len(images), device=images.device)
        if self.flip:
            # A crop mirrored is a crop of the mirrored image, as far from its other side. So
            # both images lie ready and one copy of rows does everything.
            mirrored = draws[:, 2] < 0.5
            padded = torch.cat([padded, padded.flip(-1)])
            source = source + mirrored * len(images)
            left = torch.where(mirrored, 2 * self.padding - left, left)
        return _crop(padded, source, top, left, height=images.shape[-2], width=images.shape[-1])


def normalize(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Turn bytes into network input: ``(images / 255 - mean) / std``.

    Args:
        images: ``(N, C, H, W)`` uint8.
        mean: One number for each channel, on a scale of 0 to 1.
        std: Likewise, positive.

    Returns:
        ``(N, C, H, W)`` float32, in the memory format of the images.

    Raises:
        TypeError: If the images are not bytes.
        ValueError: If there is not one ``mean`` and one positive ``std`` for each channel.
    """
    check_shapes("normalize", images=(images, "N C H W"))
    if images.dtype != torch.uint8:
        raise TypeError(f"normalize: expected `images` of dtype torch.uint8, got {images.dtype}")
    if not len(mean) == len(std) == images.shape[1]:
        raise ValueError(
            f"normalize: expected one `mean` and `std` for each of {images.shape[1]} channels, "
            f"got {len(mean)} and {len(std)}"
        )
    if min(std) <= 0:
        raise ValueError(f"normalize: expected every `std` > 0, got {tuple(std)}")
    # The compiler keeps constants itself, and warns of caches.
    compiling = torch.compiler.is_compiling()
    constants = _channel_constants if compiling else _cached_channel_constants
    offset, scale = constants(tuple(mean), tuple(std), images.device)
    return images.float().sub_(offset).mul_(scale)


def epoch_order(num_images: int, generator: torch.Generator) -> Tensor:
    """Draw the order in which one epoch visits the images.

    Batches are consecutive pieces of it; a shorter one at the end is kept.

    Args:
        num_images: Size of the set.
        generator: On the CPU.

    Returns:
        ``(num_images,)`` int64, a permutation, on the CPU.
    """
    return torch.randperm(num_images, generator=generator)


def _channel_constants(
    mean: tuple[float, ...], std: tuple[float, ...], device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return ``255 mean`` and ``1 / (255 std)``, each of shape (C, 1, 1)."""
    offset = torch.tensor(mean, dtype=torch.float64) * 255
    scale = 1 / (torch.tensor(std, dtype=torch.float64) * 255)
    both = torch.stack([offset, scale]).float().to(device)
    return both[0].view(-1, 1, 1), both[1].view(-1, 1, 1)


# A fresh copy to an accelerator at every step would make the host wait.
_cached_channel_constants = lru_cache(maxsize=64)(_channel_constants)


def _pad_with_zeros(images: Tensor, padding: int) -> Tensor:
    return F.pad(images, (padding,) * 4)


def _pad_by_reflection(images: Tensor, padding: int) -> Tensor:
    """Pad by indexing, since the operator of torch does not take bytes."""
    rows, columns = (_reflected(size, padding, images.device) for size in images.shape[-2:])
    return images.index_select(2, rows).index_select(3, columns)


def _reflected(size: int, padding: int, device: torch.device) -> Tensor:
    """Return the indices padding..1, 0..size-1, size-2..size-1-padding."""
    places = torch.arange(-padding, size + padding, device=device).abs()
    return (size - 1) - (size - 1 - places).abs()


_PAD = {"zero": _pad_with_zeros, "reflect": _pad_by_reflection}


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
