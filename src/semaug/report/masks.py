"""Test images of a run on masks for people to look at: image, truth, prediction and difference."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from semaug.data.colors import NO_CLASS, Color, class_colors, colored

# h x w pixels, C classes.

DIFFERENCES = {"right": (225, 225, 225), "wrong": (194, 52, 74), "no class": NO_CLASS}


@dataclass(frozen=True, eq=False)
class MaskedImage:
    """A test image as four pictures of one size, ``(h, w, 3)`` uint8.

    Args:
        name: Of the image.
        accuracy: Percent of its pixels with a class that are predicted right; None without any.
        image: The image itself; None if the run kept none.
        truth: In colors of classes.
        prediction: Likewise.
        difference: In :data:`DIFFERENCES`.
    """

    name: str
    accuracy: float | None
    image: Tensor | None
    truth: Tensor
    prediction: Tensor
    difference: Tensor


@dataclass(frozen=True, eq=False)
class MaskedImages:
    """What a run on masks keeps of its last test.

    Args:
        classes: Names of the classes and their colors.
        images: A few, evenly spread over the test images.
    """

    classes: Mapping[str, Color]
    images: tuple[MaskedImage, ...]


def masked_images(
    names: list[str], classes: list[str], found: Mapping[str, Tensor], colors: Any = None
) -> MaskedImages:
    """Make pictures of what :class:`semaug.keepers.MaskKeeper` kept.

    Args:
        names: Of all test images.
        classes: Their names.
        found: Arrays of the keeper.
        colors: Of the classes; None chooses.

    Raises:
        LookupError: If an array or an image is missing.
        TypeError: If something is no number.
        ValueError: If shapes do not fit.
    """
    palette = class_colors(len(classes), colors)
    if len(palette) != len(classes):
        raise ValueError(f"expected a color for each of {len(classes)} classes")
    pictures = found.get("pictures")
    if pictures is not None and (pictures.dtype, pictures.shape[-1]) != (torch.uint8, 3):
        raise ValueError("expected pictures of bytes")
    images = []
    for place, (shown, (height, width)) in enumerate(
        zip(found["shown"].tolist(), found["sizes"].tolist(), strict=True)
    ):
        truth, prediction = (
            found[x][place, :height, :width].long() - 1 for x in ("truth", "prediction")
        )
        state = torch.where(truth < 0, 2, (truth != prediction).long())
        right, counted = int((state == 0).sum()), int((state < 2).sum())
        image = None if pictures is None else pictures[place, :height, :width]
        images.append(
            MaskedImage(
                names[shown],
                100 * right / counted if counted else None,
                image,
                colored(truth, palette),
                colored(prediction, palette),
                colored(state, [*DIFFERENCES.values()]),
            )
        )
    return MaskedImages(dict(zip(classes, palette, strict=True)), tuple(images))
