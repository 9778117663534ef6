"""Colors of classes, in pictures of masks."""

import io
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from semaug.data.image_set import IGNORED

Color = tuple[int, int, int]

NO_CLASS: Color = (0, 0, 0)  # of pixels without a class


def class_colors(num_classes: int, own: Sequence[Sequence[int]] | None = None) -> list[Color]:
    """Return the color of each class: its own ones, or those of Pascal VOC, whose first is red.

    Bits 0, 3 and 6 of a number are the upper bits of red, 1, 4 and 7 of green, 2, 5 and 8 of blue.

    Source: VOCdevkit of Everingham et al., 2015, https://doi.org/10.1007/s11263-014-0733-5

    >>> class_colors(3), class_colors(1, [(1, 2, 3)])
    ([(128, 0, 0), (0, 128, 0), (128, 128, 0)], [(1, 2, 3)])
    """
    if own is not None:
        return [(red, green, blue) for red, green, blue in own]

    def level(number: int, channel: int) -> int:
        return sum((number >> (3 * bit + channel) & 1) << (7 - bit) for bit in range(6))

    numbers = range(1, num_classes + 1)
    return [(level(number, 0), level(number, 1), level(number, 2)) for number in numbers]


def colored(mask: Tensor, colors: Sequence[Color]) -> Tensor:
    """Return the picture ``(..., 3)`` uint8 of a mask; other numbers than classes are black."""
    table = torch.tensor([*colors, NO_CLASS], dtype=torch.uint8)
    ids = mask.cpu().long()
    return table[torch.where((ids >= 0) & (ids < len(colors)), ids, len(colors))]


def png_of_classes(mask: Tensor, colors: Sequence[Color]) -> bytes:
    """Return a PNG of class numbers ``(H, W)``, shown in their colors; see :func:`png_of_ids`.

    Of more than 255 classes the pixels are colors.
    """
    if len(colors) > IGNORED:
        return _encode_png(Image.fromarray(colored(mask, colors).numpy()))
    picture = Image.fromarray(mask.cpu().numpy().astype(np.uint8))
    picture.putpalette([level for color in colors for level in color])
    return _encode_png(picture)


def png_of_ids(mask: Tensor, ids: Sequence[int]) -> bytes:
    """Return a grey PNG with the number ``ids[k]`` where a mask ``(H, W)`` has class k.

    It has 8 bits, or 16 if a number needs them.
    """
    numbers = torch.tensor(ids)[mask.cpu().long()].numpy()
    return _encode_png(Image.fromarray(numbers.astype(np.uint8 if max(ids) < 256 else np.uint16)))


def _encode_png(picture: Image.Image) -> bytes:
    content = io.BytesIO()
    picture.save(content, "PNG")
    return content.getvalue()
