"""Change pixels by look-up tables: what becomes of a byte, for each image and channel.

Bit for bit what Pillow's ``ImageOps`` and ``ImageEnhance`` do.

Source: Cubuk et al., 2018, https://arxiv.org/abs/1805.09501, Table 6, for the operations.
"""

import torch
from torch import Tensor

from semaug.augmentation.blend import blend, luminance

# N images of C channels, H and W pixels.


def look_up(images: Tensor, tables: Tensor) -> Tensor:
    """Replace every byte by what a table says.

    Args:
        images: ``(N, C, H, W)`` uint8.
        tables: ``(N, C, 256)`` uint8, or ``(N, 1, 256)`` for all channels alike.

    Returns:
        ``(N, C, H, W)`` uint8.
    """
    tables = tables.expand(-1, images.shape[1], -1)
    return tables.gather(2, images.flatten(2).long()).view(images.shape)


def constant_tables(name: str, magnitude: float) -> Tensor:
    """Return the tables of an operation that do not depend on all of an image.

    Args:
        name: ``"Posterize"``, ``"Solarize"``, ``"Invert"``, ``"Brightness"`` or
            ``"Contrast"``; every other operation leaves bytes as they are.
        magnitude: The bits kept, the first byte inverted, or by how much brightness or
            contrast exceed those of the image, from -1.

    Returns:
        ``(1, 256)`` uint8; for contrast ``(256, 256)``, a row for each
        :func:`mean_luminance` of an image.
    """
    byte = torch.arange(256).unsqueeze(0)
    if name == "Posterize":
        byte = byte & -(2 ** (8 - int(magnitude)))
    elif name == "Solarize":
        byte = torch.where(byte < magnitude, byte, 255 - byte)
    elif name == "Invert":
        byte = 255 - byte
    elif name in ("Brightness", "Contrast"):
        degenerate = torch.arange(256 if name == "Contrast" else 1).unsqueeze(1)
        byte = blend(degenerate.float(), byte.float(), torch.tensor(1.0 + magnitude))
    return byte.byte()


def mean_luminance(images: Tensor) -> Tensor:
    """Return the mean of :func:`~semaug.augmentation.blend.luminance`, rounded half up.

    Args:
        images: ``(N, 3, H, W)`` uint8.

    Returns:
        ``(N,)`` int64.
    """
    num_pixels = images.shape[-2] * images.shape[-1]
    total = luminance(images).flatten(1).sum(1, dtype=torch.float64).long()
    return (2 * total + num_pixels) // (2 * num_pixels)


def auto_contrast(images: Tensor) -> Tensor:
    """Return tables that stretch each channel to the bytes 0 to 255.

    Args:
        images: ``(N, C, H, W)`` uint8.

    Returns:
        ``(N, C, 256)`` uint8; a channel with one value only stays as it is.
    """
    # Not of bytes, whose minimum torch 2.15 compiles to 0 on a CPU.
    pixels = images.flatten(2).short()
    darkest, brightest = pixels.amin(2, keepdim=True), pixels.amax(2, keepdim=True)
    byte = torch.arange(256, device=images.device)
    # In float64 and in Pillow's order, for its rounding errors: they may cost a grey level.
    # A number over a tensor is a product with the reciprocal in torch, so the 255 is one too.
    span = (brightest - darkest).clamp(min=1).double()
    scale = torch.full_like(span, 255) / span
    table = (byte * scale + -darkest.double() * scale).clamp_(0, 255)
    return torch.where(brightest > darkest, table.byte(), byte.byte())


def equalize(images: Tensor) -> Tensor:
    """Return tables that make all bytes about equally frequent in each channel.

    Args:
        images: ``(N, C, H, W)`` uint8.

    Returns:
        ``(N, C, 256)`` uint8; a channel with one value only stays as it is.
    """
    pixels = images.flatten(2).long()
    count = torch.zeros(*pixels.shape[:2], 256, dtype=torch.int32, device=images.device)
    count.scatter_add_(2, pixels, torch.ones_like(pixels, dtype=torch.int32))
    # The brightest value does not count, for there is nothing above it.
    brightest = images.flatten(2).amax(2, keepdim=True).long()
    step = (pixels.shape[2] - count.gather(2, brightest)) // 255
    below = count.cumsum(2) - count  # of integers: GPUs repeat themselves with these alone
    # Float64 divides whole numbers exactly enough, and several times faster.
    table = (below + step // 2).double().div_(step.clamp(min=1)).clamp_(max=255).byte()
    byte = torch.arange(256, dtype=torch.uint8, device=images.device)
    return torch.where(step > 0, table, byte)
