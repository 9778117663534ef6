"""Shear, shift and rotate images, by looking up where each pixel comes from.

What is computed is what Pillow computes, to the bit: a matrix ``(a, b, c, d, e, f)`` maps
the middle of a pixel of the result to the point ``(a x + b y + c, d x + e y + f)`` of the
image, in steps of ``2**-16`` pixels, and the pixel around that point is taken as it is.
Outside of the image is one color.

Source: Cubuk et al., 2018, https://arxiv.org/abs/1805.09501, Table 6, for the operations.
"""

import math

import torch
from torch import Tensor

# N images of C channels, H and W pixels; M matrices.

_ONE = 2**16  # a pixel, in the steps that Pillow counts in

Matrix = tuple[float, float, float, float, float, float]


def inverse_matrix(name: str, magnitude: float, height: int, width: int) -> Matrix:
    """Return where pixels of the result come from.

    Args:
        name: ``"ShearX"``, ``"ShearY"``, ``"TranslateX"``, ``"TranslateY"`` or ``"Rotate"``;
            every other operation leaves pixels where they are.
        magnitude: The slope of a shear, the pixels of a shift, whose fraction is dropped,
            or the degrees of a rotation, counterclockwise.
        height: H.
        width: W.

    Returns:
        ``(a, b, c, d, e, f)``.
    """
    if name == "Rotate":
        return _rotation(magnitude, height, width)
    # Through degrees, as torchvision: the last bit of a slope may decide on a pixel.
    angle = math.radians(math.degrees(math.atan(magnitude)))
    return {
        "ShearX": (1.0, math.tan(angle), 0.0, 0.0, 1.0, 0.0),
        "ShearY": (1.0, 0.0, 0.0, math.sin(angle) / math.cos(angle), 1.0, 0.0),
        "TranslateX": (1.0, 0.0, -float(int(magnitude)), 0.0, 1.0, 0.0),
        "TranslateY": (1.0, 0.0, 0.0, 0.0, 1.0, -float(int(magnitude))),
    }.get(name, (1.0, 0.0, 0.0, 0.0, 1.0, 0.0))


def fixed_point(matrix: Matrix) -> list[int]:
    """Round a matrix to whole steps, for places counted from the middle of the first pixel.

    >>> fixed_point((1.0, 0.0, -3.0, 0.0, 1.0, 0.0))
    [65536, 0, -163840, 0, 65536, 32768]
    """
    a, b, c, d, e, f = matrix
    shifted = (a, b, c + a * 0.5 + b * 0.5, d, e, f + d * 0.5 + e * 0.5)
    return [math.floor(number * _ONE + 0.5) for number in shifted]


def source_pixels(coefficients: Tensor, height: int, width: int) -> Tensor:
    """Return which pixel of an image each pixel of the result is.

    Pillow counts in the same way as long as places stay below ``2**15``, so for all images
    up to 10,000 pixels wide and high.

    Args:
        coefficients: ``(M, 6)`` int64, rows of :func:`fixed_point`.
        height: H.
        width: W.

    Returns:
        ``(M, H * W)`` int64; a pixel is ``row * W + column``, outside of the image ``H * W``.
    """
    a, b, c, d, e, f = coefficients.view(-1, 6, 1, 1).unbind(1)
    x = torch.arange(width, device=coefficients.device)
    y = torch.arange(height, device=coefficients.device).unsqueeze(1)
    column = (a * x + b * y + c) >> 16
    row = (d * x + e * y + f) >> 16
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    return torch.where(inside, row * width + column, height * width).flatten(1)


def move(images: Tensor, pixels: Tensor, fill: Tensor) -> Tensor:
    """Build images of other images' pixels.

    Args:
        images: ``(N, C, H, W)`` of any dtype.
        pixels: ``(N, H * W)``, rows of :func:`source_pixels`.
        fill: What lies outside: ``(C, 1)`` or ``(1, 1)`` of the same dtype.

    Returns:
        ``(N, C, H, W)``.
    """
    num_images, num_channels = images.shape[:2]
    outside = fill.expand(num_images, num_channels, 1)
    padded = torch.cat([images.flatten(2), outside], dim=2)
    source = pixels.unsqueeze(1).expand(-1, num_channels, -1)
    return padded.gather(2, source).view(images.shape)


def _rotation(degrees: float, height: int, width: int) -> Matrix:
    """Rotate about the middle of the image; cosine and sine have 15 digits, as Pillow's."""
    angle = -math.radians(degrees % 360.0)
    cosine, sine = round(math.cos(angle), 15), round(math.sin(angle), 15)
    x, y = width / 2, height / 2
    return (
        cosine,
        sine,
        cosine * -x + sine * -y + x,
        -sine,
        cosine,
        -sine * -x + cosine * -y + y,
    )
