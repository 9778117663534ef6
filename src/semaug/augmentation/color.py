"""Random changes of color: grey images, and jitter of brightness, contrast, saturation, hue.

Bit for bit what torchvision does to Pillow's images, given the same decisions.

For the hue, a color is taken apart into hue, saturation and value, whole numbers from 0 to 255
each; the hue is shifted, modulo 256, and the color put together again. So even a shift by 0 costs
some grey levels. Tests compare both directions with Pillow for all of the 2**24 colors.
"""

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from semaug._torch.checks import check_at_least, check_number
from semaug.augmentation.operator import (
    Augmentation,
    apply_where,
    check_bytes,
    check_images_and_draws,
    check_probability,
    in_pieces,
)
from semaug.augmentation.pixels import blend, luminance
from semaug.errors import check_option

# N images of C channels, H and W pixels.


def check_jitter(jitter: tuple[float, ...]) -> None:
    """Check the option of a recipe that :class:`ColorJitter` is made of.

    Raises:
        UserError: If there are more than four numbers, or one is out of range.
    """
    check_option("jitter", jitter, len(jitter) <= 4, "with at most 4 numbers")
    largest = (float("inf"),) * 3 + (0.5,)
    inside = all(0 <= x <= limit for x, limit in zip(jitter, largest, strict=False))
    check_option("jitter", jitter, inside, ">= 0, and hue <= 0.5")


@dataclass(frozen=True)
class Grayscale(Augmentation):
    """Replace some images by their luminance, the same in all three channels.

    Luminance is Pillow's, ``0.299 red + 0.587 green + 0.114 blue`` with weights of 16 bits.
    Images of one channel stay as they are.

    Args:
        probability: How many of the images, from 0 to 1.

    Raises:
        TypeError: If ``probability`` is not a number.
        ValueError: If ``probability`` is not between 0 and 1.
    """

    moves_pixels = False
    num_draws = 1  # whether

    probability: float

    def __post_init__(self) -> None:
        check_probability("Grayscale", "probability", self.probability)

    def __call__(self, images: Tensor, draws: Tensor) -> Tensor:
        """Augment a batch.

        Args:
            images: ``(N, C, H, W)`` uint8 of 1 or 3 channels.
            draws: ``(N, 1)``, the rows of :meth:`draw` for these images. On an accelerator
                they should lie there already: moving them makes the host wait.

        Returns:
            ``(N, C, H, W)`` uint8.

        Raises:
            TypeError: If images are not bytes, or ``draws`` not floating-point numbers.
            ValueError: If shapes disagree, or images have neither 1 nor 3 channels.
        """
        _check(self, images, draws)
        if images.shape[1] == 1:
            return images
        chosen = draws[:, 0].to(images.device) < self.probability
        return apply_where(chosen, lambda x: luminance(x).byte().repeat(1, 3, 1, 1), images)


@dataclass(frozen=True)
class ColorJitter(Augmentation):
    """Change brightness, contrast, saturation and hue of each image, in an order of its own.

    The semantics of ``torchvision.transforms.ColorJitter``: the first three are multiplied
    by factors that are uniform from ``max(0, 1 - x)`` to ``1 + x``, hue is shifted by a
    share of a turn that is uniform from ``-x`` to ``x``, every order of those that are not 0
    is equally likely. Images of one channel have no saturation and no hue to change.

    Args:
        brightness: x of the factor of brightness; 0 leaves it alone, and so for the others.
        contrast: x of the factor of contrast.
        saturation: x of the factor of saturation.
        hue: x of the shift of hue, at most one half.
        probability: How many of the images, from 0 to 1.

    Raises:
        TypeError: If one is not a number.
        ValueError: If one is negative, ``hue`` above one half or ``probability`` above 1.
    """

    moves_pixels = False
    num_draws = 9  # four factors, four numbers that sort the operations, and whether at all

    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    probability: float = 1.0

    def __post_init__(self) -> None:
        for name in _OPERATIONS:
            check_number("ColorJitter", name, getattr(self, name))
            check_at_least("ColorJitter", name, getattr(self, name), 0)
        if self.hue > 0.5:
            raise ValueError(f"ColorJitter: expected `hue` <= 0.5, got {self.hue}")
        check_probability("ColorJitter", "probability", self.probability)

    def __call__(self, images: Tensor, draws: Tensor) -> Tensor:
        """Augment a batch.

        Args:
            images: ``(N, C, H, W)`` uint8 of 1 or 3 channels.
            draws: ``(N, 9)``, the rows of :meth:`draw` for these images. On an accelerator
                they should lie there already: moving them makes the host wait.

        Returns:
            ``(N, C, H, W)`` uint8.

        Raises:
            TypeError: If images are not bytes, or ``draws`` not floating-point numbers.
            ValueError: If shapes disagree, or images have neither 1 nor 3 channels.
        """
        _check(self, images, draws)
        draws = draws.to(images.device)
        if self.probability == 1:
            return in_pieces(self._jitter, images, draws)
        chosen = draws[:, 8] < self.probability
        return apply_where(chosen, partial(in_pieces, self._jitter), images, draws)

    def _jitter(self, images: Tensor, draws: Tensor) -> Tensor:
        usable = _OPERATIONS if images.shape[1] == 3 else _OPERATIONS[:2]
        names = {name: k for k, name in enumerate(usable) if getattr(self, name) > 0}
        if not names:
            return images
        factors = torch.stack([self._factor(x, draws[:, k]) for x, k in names.items()], dim=1)
        keys = torch.stack([draws[:, 4 + k] for k in names.values()], dim=1)
        # Stable, so that equal keys are sorted alike on every device.
        for operation in keys.argsort(dim=1, stable=True).unbind(1):
            factor = factors.gather(1, operation.unsqueeze(1)).squeeze(1)
            is_now = {name: operation == k for k, name in enumerate(names)}
            if [*names] != ["hue"]:
                images = _blend(images.float(), factor, is_now)
            if "hue" in names:
                images = apply_where(is_now["hue"], turn_hue, images, factor)
        return images

    def _factor(self, name: str, draws: Tensor) -> Tensor:
        """Turn uniform numbers into factors, or for hue into shifts of 1/256 of a turn."""
        width = getattr(self, name)
        if name == "hue":
            turns = -width + draws * (2 * width)
            return (turns.double() * 255).trunc().float()  # 255, as torchvision
        lowest = max(0.0, 1 - width)
        return lowest + draws * (1 + width - lowest)


_OPERATIONS = ("brightness", "contrast", "saturation", "hue")


def _check(augment: Augmentation, images: Tensor, draws: Tensor) -> None:
    check_images_and_draws(augment, images, draws)
    function = type(augment).__name__
    check_bytes(function, images)
    if images.shape[1] not in (1, 3):
        raise ValueError(f"{function}: expected `images` of 1 or 3 channels, got {images.shape[1]}")


def _blend(images: Tensor, factor: Tensor, is_now: dict[str, Tensor]) -> Tensor:
    """Mix with black, with the mean luminance or with the luminance, as is each image's turn.

    Args:
        images: ``(N, C, H, W)`` float32, whole numbers.
        factor: ``(N,)``.
        is_now: For each operation wanted, ``(N,)`` bool, whose turn it is. The images whose
            hue it is stay as they are.
    """
    one_color = images.new_zeros(len(images), 1, 1, 1)
    if "contrast" in is_now or "saturation" in is_now:
        grey = luminance(images) if images.shape[1] == 3 else images
        if "contrast" in is_now:
            # Rounded half up; a quarter of the smallest step more leaves room for rounding.
            num_pixels = grey.shape[2] * grey.shape[3]
            total = grey.sum((1, 2, 3), dtype=torch.float64)
            mean = (total + 0.5 * num_pixels + 0.25).div_(num_pixels).floor_()
            one_color = (mean.float() * is_now["contrast"]).view(-1, 1, 1, 1)
        if "saturation" in is_now:
            one_color = grey * is_now["saturation"].view(-1, 1, 1, 1) + one_color
    if "hue" in is_now:
        factor = torch.where(is_now["hue"], 1.0, factor)
    return blend(one_color, images, factor.view(-1, 1, 1, 1))


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
