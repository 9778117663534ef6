"""Change the bytes of images: mix with other images, or look up what becomes of each byte.

Color and sharpness are changed by mixing an image with one that has none of it, everything else
by look-up tables, for each image and channel. Bit for bit what Pillow's ``ImageEnhance`` and
``ImageOps`` do.

Source: Cubuk et al., 2018, https://arxiv.org/abs/1805.09501, Table 6, for the operations.
"""

import torch
from torch import Tensor

# N images of C channels (3 where colors are meant), H and W pixels.


def color(images: Tensor, factor: Tensor) -> Tensor:
    """Mix images with grey ones of the same luminance.

    Args:
        images: ``(N, 3, H, W)`` uint8.
        factor: ``(N,)`` float32; 0 gives grey images, 1 the images themselves.

    Returns:
        ``(N, 3, H, W)`` uint8.
    """
    return blend(luminance(images), images.float(), factor.view(-1, 1, 1, 1))


def sharpness(images: Tensor, factor: Tensor) -> Tensor:
    """Mix images with smoothed ones.

    A pixel is smoothed with its eight neighbors, which weigh 1 each, and 5 itself. Pixels
    at the border stay as they are.

    Args:
        images: ``(N, C, H, W)`` uint8.
        factor: ``(N,)`` float32; 0 gives smooth images, 1 the images themselves.

    Returns:
        ``(N, C, H, W)`` uint8.
    """
    given = images.float()
    smooth = given.clone()
    if min(images.shape[-2:]) > 2:
        rows = given[..., :-2, :] + given[..., 1:-1, :] + given[..., 2:, :]
        total = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]
        inner = smooth[..., 1:-1, 1:-1]
        # A thirteenth of a whole number is never close to a half, so rounding is exact.
        inner.mul_(4).add_(total).div_(13).round_()
    return blend(smooth, given, factor.view(-1, 1, 1, 1))


def luminance(images: Tensor) -> Tensor:
    """Return ITU-R 601-2 luma with the 16-bit weights of Pillow.

    Args:
        images: ``(N, 3, H, W)`` uint8.

    Returns:
        ``(N, 1, H, W)`` float32, whole numbers from 0 to 255.
    """
    red, green, blue = images.float().split(1, dim=1)
    # Multiples of 2**-16 below 256, so float32 holds them exactly, whatever is rounded when.
    weighted = (red * (19595 / 2**16)).add_(green, alpha=38470 / 2**16)
    return weighted.add_(blue, alpha=7471 / 2**16).add_(0.5).floor_()


def blend(degenerate: Tensor, images: Tensor, factor: Tensor) -> Tensor:
    """Return ``degenerate + factor * (images - degenerate)`` as bytes.

    Args:
        degenerate: Float32, and all the others broadcast with it.
        images: Float32.
        factor: Float32.

    Returns:
        uint8: cut to 0 to 255, and at the decimal point.
    """
    # Two roundings, one for the product and one for the sum: a fused operation has one.
    mixed = (images - degenerate).mul_(factor).add_(degenerate)
    return mixed.clamp_(0, 255).byte()


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
    """Return the mean of :func:`luminance`, rounded half up.

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
