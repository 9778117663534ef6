"""Objects drawn on their image, for people to look at."""

from collections.abc import Sequence

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from semaug.data.colors import Color

__all__ = ["LEAST_SCORE", "draw_objects"]

LEAST_SCORE = 0.5  # of objects that are shown to people
_OF_MASK = 0.45  # how much of a pixel of a mask is in the color of its class
_LINE, _LETTERS, _SMALLEST_LETTERS = 300, 45, 11  # the longer side over these; pixels


def draw_objects(
    image: Tensor,
    boxes: Tensor,
    labels: Tensor,
    colors: Sequence[Color],
    masks: Tensor | None = None,
    names: Sequence[str] = (),
) -> Tensor:
    """Draw boxes, and masks, in the colors of their classes; the first object lies on top.

    Args:
        image: ``(3, H, W)`` uint8.
        boxes: ``(N, 4)`` corners (x1, y1, x2, y2) in pixels of the image.
        labels: ``(N,)`` int64 classes.
        colors: Of each class.
        masks: ``(N, H, W)`` bool, or None.
        names: What is written at each box; empty writes nothing.

    Returns:
        ``(H, W, 3)`` uint8 on the CPU.
    """
    pixels = image.cpu().movedim(0, -1).float()
    own = [colors[label] for label in labels.tolist()]
    for mask, color in [] if masks is None else list(zip(masks.cpu(), own, strict=True))[::-1]:
        pixels[mask] += _OF_MASK * (torch.tensor(color) - pixels[mask])
    picture = Image.fromarray(pixels.round().byte().contiguous().numpy())
    canvas, longest = ImageDraw.Draw(picture), max(picture.size)
    line = max(1, round(longest / _LINE))
    placed = list(zip(boxes.tolist(), own, names or [""] * len(own), strict=True))[::-1]
    for (x1, y1, x2, y2), color, _ in placed:
        corners = [x1, y1, max(x1, x2 - 1), max(y1, y2 - 1)]  # of pixels, both within the box
        canvas.rectangle(corners, outline=color, width=line)
    font = ImageFont.load_default(max(_SMALLEST_LETTERS, longest / _LETTERS))
    for (x1, y1, _, _), color, name in placed if names else ():
        left, top, right, bottom = canvas.textbbox((0, 0), name, font=font)
        width, height = right - left + 2 * line, bottom - top + 2 * line
        x = max(0, min(x1, picture.width - width))
        y = y1 - height if y1 >= height else y1  # above the box, or at its upper side
        canvas.rectangle([x, y, x + width, y + height], fill=color)
        ink = "black" if sum(color) > 3 * 128 else "white"
        canvas.text((x + line - left, y + line - top), name, fill=ink, font=font)
    return torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8).view(pixels.shape)
