"""Change color and sharpness, by mixing an image with one that has none of it.

Bit for bit what Pillow's ``ImageEnhance`` does.

Source: Cubuk et al., 2018, https://arxiv.org/abs/1805.09501, Table 6, for the operations.
"""

from torch import Tensor

# N images of 3 channels, H and W pixels.


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
