"""The fifteen operations that AutoAugment and RandAugment choose from.

An image gets one operation out of a list that is known beforehand, so whatever does not
depend on its pixels is computed once for the list: look-up tables, and where pixels come
from. A batch then takes rows of that. On a CPU, images with the same kind of operation go
together; on an accelerator, or while compiling, every kind is computed for all images,
since counting them would make the host wait.

Source: Cubuk et al., 2018, https://arxiv.org/abs/1805.09501, Table 6; the ranges are those
of torchvision's ``AutoAugment``, and every image comes out as there, from Pillow. Compiled
for a GPU, which may round a product and a sum at once, this has not been tested.
"""

from abc import abstractmethod
from collections.abc import Callable
from functools import lru_cache, wraps
from operator import index
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from semaug.augmentation.affine import fixed_point, inverse_matrix, move, source_pixels
from semaug.augmentation.operator import (
    Augmentation,
    check_bytes,
    check_images_and_draws,
    fill_of,
)
from semaug.augmentation.pixels import (
    auto_contrast,
    color,
    constant_tables,
    equalize,
    look_up,
    mean_luminance,
    sharpness,
)
from semaug.covariance.rows import is_static

# N images, H and W pixels; K operations to choose from.

MAX_PIXELS = 2**22  # above that, places of pixels are computed when needed; int64, so 32 MiB

Function = TypeVar("Function", bound=Callable[..., Any])


def computed_once(function: Function) -> Function:
    """Keep the last results of a function; while compiling, take them for constants.

    ``torch.compile`` would look into the function and compute tables in every step anew. It
    must not see the cache itself, which it goes around with a warning.

    Args:
        function: Of hashable arguments. While compiling they must be constants as well:
            sizes of images go through :func:`operator.index` first.

    Returns:
        The same function.
    """
    cached = lru_cache(maxsize=16)(function)

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return cached(*args, **kwargs)

    return torch.compiler.assume_constant_result(call)


class Operation(NamedTuple):
    """One of the things that can be done to an image."""

    name: str = "Identity"
    level: int = 0  # from 0 to num_levels - 1
    num_levels: int = 10
    negative: bool = False  # of magnitudes with a sign: to the other side, or less


# From the lowest level to the highest. Shifts are fractions of width or height; what has no
# level is missing here, and so is the number of bits that Posterize keeps.
_RANGES = {
    "ShearX": (0.0, 0.3),
    "ShearY": (0.0, 0.3),
    "TranslateX": (0.0, 150.0 / 331.0),
    "TranslateY": (0.0, 150.0 / 331.0),
    "Rotate": (0.0, 30.0),
    "Brightness": (0.0, 0.9),
    "Color": (0.0, 0.9),
    "Contrast": (0.0, 0.9),
    "Sharpness": (0.0, 0.9),
    "Solarize": (255.0, 0.0),
}


def magnitude_of(operation: Operation, height: int, width: int) -> float:
    """Return how strong an operation is, in its own unit.

    Args:
        operation: Any.
        height: H, which the vertical shift is relative to.
        width: W, likewise.

    Returns:
        A slope, pixels, degrees, a factor less 1, bits kept or the first byte inverted; 0
        for operations without a level. It has the rounding of float32.
    """
    name, level, num_levels, negative = operation
    if name == "Posterize":
        return 8 - round(level / ((num_levels - 1) / 4))
    if name not in _RANGES:
        return 0.0
    low, high = _RANGES[name]
    high *= {"TranslateX": width, "TranslateY": height}.get(name, 1)
    levels = torch.linspace(low, high, num_levels, dtype=torch.float32, device="cpu")
    return levels[level].item() * (-1 if negative and name != "Solarize" else 1)


class Tables(NamedTuple):
    """What is known of K operations, whatever the images."""

    operations: tuple[Operation, ...]
    kind: Tensor  # (K,) int64, index into _KINDS
    factor: Tensor  # (K,) float32, for color and sharpness
    look_up: Tensor  # (R, 256) uint8; an operation has one row, or one for each luminance
    row: Tensor  # (K,) int64, its first
    coefficients: Tensor  # (K, 6) int64, of a matrix
    pixels: Tensor | None  # (M, H * W) int64, for each matrix; None if too large
    matrix: Tensor  # (K,) int64, which of them
    fill: Tensor  # (3, 1) uint8, or (1, 1) for all channels: what lies outside of an image


def apply_operations(
    images: Tensor,
    operations: tuple[Operation, ...],
    choice: Tensor,
    fill: tuple[float, ...] = (0,),
) -> Tensor:
    """Apply one operation to each image.

    Args:
        images: ``(N, 3, H, W)`` uint8.
        operations: What there is to choose from, K of them.
        choice: ``(N,)`` int64 from 0 to K - 1, on the device of the images.
        fill: What lies outside of an image: bytes for each channel, or one for all.

    Returns:
        ``(N, 3, H, W)`` uint8, contiguous.
    """
    images = images.contiguous()
    if images.numel() == 0:
        return images
    # The compiler takes tables for constants, and so what they depend on.
    height, width = map(index, images.shape[-2:])
    tables = _tables(operations, height, width, images.device, fill)
    apply = _apply_to_all if is_static(images.device) else _apply_to_groups
    return apply(images, tables, choice)


class Operations(Augmentation):
    """One operation after the other, each drawn from a list."""

    fill: float | tuple[float, ...]  # what lies outside of an image that is moved

    def __call__(self, images: Tensor, draws: Tensor) -> Tensor:
        """Augment a batch.

        Args:
            images: ``(N, 3, H, W)`` uint8.
            draws: ``(N, num_draws)``, the rows of :meth:`draw` for these images. On an
                accelerator they should lie there already: moving them makes the host wait.

        Returns:
            ``(N, 3, H, W)`` uint8, contiguous.

        Raises:
            TypeError: If images are not bytes, or ``draws`` not floating-point numbers.
            ValueError: If shapes disagree, images do not have three channels, or ``fill`` is not
                one byte or three.
        """
        check_images_and_draws(self, images, draws, shape="N 3 H W")
        check_bytes(type(self).__name__, images)
        fill = fill_of(type(self).__name__, self.fill, images)
        operations, choices = self.choose(draws.to(images.device))
        for choice in choices.unbind(1):
            images = apply_operations(images, operations, choice, fill)
        return images

    @abstractmethod
    def choose(self, draws: Tensor) -> tuple[tuple[Operation, ...], Tensor]:
        """Return K operations, and which of them each image gets: ``(N, times)`` int64."""


def _apply_to_all(images: Tensor, tables: Tables, choice: Tensor) -> Tensor:
    """Compute each kind of operation for all images, and keep what was asked for."""
    kind = tables.kind[choice].view(-1, 1, 1, 1)
    present = {_KIND_OF[operation.name] for operation in tables.operations}
    result = images
    for number in sorted(present - {0}):
        result = torch.where(kind == number, _KINDS[number][0](images, tables, choice), result)
    return result


def _apply_to_groups(images: Tensor, tables: Tables, choice: Tensor) -> Tensor:
    """Compute each kind of operation for the images that it is meant for."""
    kind, order = tables.kind[choice].sort()
    sizes = torch.bincount(kind, minlength=len(_KINDS)).tolist()
    sorted_images, sorted_choice = images.index_select(0, order), choice[order]
    groups = zip(_KINDS, sorted_images.split(sizes), sorted_choice.split(sizes), strict=True)
    changed = [function(own, tables, chosen) for (function, _), own, chosen in groups if len(own)]
    # Many times faster than to copy each image to its place.
    return torch.cat(changed).index_select(0, order.argsort())


def _affine(images: Tensor, tables: Tables, choice: Tensor) -> Tensor:
    if tables.pixels is None:
        pixels = source_pixels(tables.coefficients[choice], *images.shape[-2:])
    else:
        pixels = tables.pixels.index_select(0, tables.matrix[choice])
    return move(images, pixels, tables.fill)


def _constant(images: Tensor, tables: Tables, choice: Tensor) -> Tensor:
    return look_up(images, tables.look_up.index_select(0, tables.row[choice]).unsqueeze(1))


def _contrast(images: Tensor, tables: Tables, choice: Tensor) -> Tensor:
    # The rows of another operation may end before those that the luminance asks for.
    row = (tables.row[choice] + mean_luminance(images)).clamp_(max=len(tables.look_up) - 1)
    return look_up(images, tables.look_up.index_select(0, row).unsqueeze(1))


# What computes each kind of operation, and which ones these are.
_KINDS: list[tuple[Callable[[Tensor, Tables, Tensor], Tensor], tuple[str, ...]]] = [
    (lambda images, tables, choice: images, ("Identity",)),
    (_affine, ("ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate")),
    (_constant, ("Posterize", "Solarize", "Invert", "Brightness")),
    (_contrast, ("Contrast",)),
    (lambda images, tables, choice: look_up(images, auto_contrast(images)), ("AutoContrast",)),
    (lambda images, tables, choice: look_up(images, equalize(images)), ("Equalize",)),
    (lambda images, tables, choice: color(images, tables.factor[choice]), ("Color",)),
    (lambda images, tables, choice: sharpness(images, tables.factor[choice]), ("Sharpness",)),
]
_KIND_OF = {name: kind for kind, (_, names) in enumerate(_KINDS) for name in names}


@computed_once
def _tables(
    operations: tuple[Operation, ...],
    height: int,
    width: int,
    device: torch.device,
    fill: tuple[float, ...],
) -> Tables:
    """Compute what does not depend on pixels, for images of one size on one device."""
    names = [operation.name for operation in operations]
    magnitudes = [magnitude_of(operation, height, width) for operation in operations]
    named = list(zip(names, magnitudes, strict=True))
    matrices = (inverse_matrix(*pair, height, width) for pair in named)
    coefficients = torch.tensor([fixed_point(matrix) for matrix in matrices])
    distinct, matrix = coefficients.unique(dim=0, return_inverse=True)
    fits = len(distinct) * height * width <= MAX_PIXELS
    look_up = [constant_tables(*pair) for pair in named]
    sizes = torch.tensor([len(rows) for rows in look_up])
    return Tables(
        operations,
        kind=torch.tensor([_KIND_OF[name] for name in names], device=device),
        factor=torch.tensor(magnitudes, dtype=torch.float64).add(1).float().to(device),
        look_up=torch.cat(look_up).to(device),
        row=(sizes.cumsum(0) - sizes).to(device),
        coefficients=coefficients.to(device),
        pixels=source_pixels(distinct, height, width).to(device) if fits else None,
        matrix=matrix.to(device),
        fill=torch.tensor(fill, dtype=torch.uint8, device=device).unsqueeze(1),
    )
