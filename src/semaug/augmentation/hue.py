"""Turn the colors of images around the wheel of hues, bit for bit as Pillow does.

A color is taken apart into hue, saturation and value, whole numbers from 0 to 255 each; the
hue is shifted, modulo 256, and the color put together again. So even a shift by 0 costs
some grey levels. Tests compare both directions with Pillow for all of the 2**24 colors.
"""

import torch
from torch import Tensor

# N images of 3 channels, H and W pixels.


def turn_hue(images: Tensor, shift: Tensor) -> Tensor:
    """Shift the hue of each image.

    Args:
        images: ``(N, 3, H, W)`` uint8.
        shift: ``(N,)`` float32, whole numbers from -128 to 127; 256 are once around.

    Returns:
        ``(N, 3, H, W)`` uint8.
    """
    hue, saturation, value = to_hsv(images.float())
    hue.add_(shift.view(-1, 1, 1, 1)).remainder_(256)
    return from_hsv(hue, saturation, value).byte()


def to_hsv(images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Take colors apart.

    Args:
        images: ``(N, 3, H, W)`` float32, whole numbers from 0 to 255.

    Returns:
        Hue, saturation and value, ``(N, 1, H, W)`` float32, whole numbers from 0 to 255.
    """
    value = images.amax(1, keepdim=True)
    spread = value - images.amin(1, keepdim=True)
    # Half of the smallest step more, so that no rounding of the quotient decides.
    saturation = (spread * 255).add_(0.5).div_(value.clamp(min=1)).floor_()
    # 0 at the strongest channel, 1 at the weakest.
    red, green, blue = (value - images).div_(spread.clamp(min=1)).split(1, dim=1)
    # Float32 and float64 by turns, as Pillow: rounding decides on one color in 350.
    if_red = blue - green
    if_green = (red.double() - blue).add_(2).float()
    if_blue = (green.double() - red).add_(4).float()
    # A choice by weights of 0 and 1 is exact, and several times faster than one by bools.
    sixths = if_red.lerp_(if_green.lerp_(if_blue, green.ceil()), red.ceil())
    turns = sixths.double().mul_(1 / 6)
    turns = turns.sub_(turns.floor()).float()
    return turns.double().mul_(255).floor_().float(), saturation, value


def from_hsv(hue: Tensor, saturation: Tensor, value: Tensor) -> Tensor:
    """Put colors together.

    A channel is the value, less what the saturation takes away from it: nothing within a
    sixth of a turn around its own hue, all beyond two sixths, and proportionally in between.

    Args:
        hue: ``(N, 1, H, W)`` float32, whole numbers from 0 to 255.
        saturation: Likewise.
        value: Likewise.

    Returns:
        ``(N, 3, H, W)`` float32, whole numbers from 0 to 255.
    """
    # A sixth of a turn is 255, so that all numbers are whole, and below 2**24: float32 holds
    # them exactly, and 255 * 255 is odd, so that nothing lies halfway. The quotient has room
    # for rounding, since GPUs multiply by the reciprocal.
    own_hue = torch.arange(0, 3 * 510, 510, device=hue.device).view(3, 1, 1)
    distance_from_opposite = (hue * 6 - own_hue).abs_().sub_(765).abs_()
    rest = distance_from_opposite.clamp_(255, 510)  # 255 + what is not taken away
    total = rest.mul_(saturation).add_(255**2 - 510 * saturation).mul_(value)
    return total.double().add_(255**2 // 2 + 0.5).mul_(1 / 255**2).floor_().float()
