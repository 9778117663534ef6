"""Test images of a run for people to look at: image, truth and prediction side by side."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from semaug.data.colors import NO_CLASS, Color, class_colors, colored

# h x w pixels, C classes.

DIFFERENCES = {"right": (225, 225, 225), "wrong": (194, 52, 74), "no class": NO_CLASS}


@dataclass(frozen=True, eq=False)
class PicturedImage:
    """A test image as several pictures of one size, ``(h, w, 3)`` uint8.

    Args:
        name: Of the image.
        pictures: By what they show, such as ``image``, ``truth`` and ``prediction``.
        note: What is said of it; empty for nothing.
    """

    name: str
    pictures: Mapping[str, Tensor]
    note: str = ""


@dataclass(frozen=True, eq=False)
class PicturedImages:
    """What a run keeps of its last test to look at: truth and prediction side by side.

    Args:
        title: What is predicted, such as ``"Masks"``.
        legends: Names and colors of the classes, and of what else has colors.
        images: A few, evenly spread over the test images.
    """

    title: str
    legends: tuple[Mapping[str, Color], ...]
    images: tuple[PicturedImage, ...]

    @property
    def columns(self) -> list[str]:
        """What pictures show, in order."""
        return list(dict.fromkeys(name for one in self.images for name in one.pictures))


def pictured_images(
    names: list[str], classes: list[str], found: Mapping[str, Tensor], colors: Any = None
) -> PicturedImages:
    """Take what :class:`semaug.keepers.PictureKeeper` kept; see :func:`masked_images`."""
    columns = {name: own for name, own in found.items() if name not in ("shown", "sizes")}
    if any((own.dtype, own.ndim, own.shape[-1]) != (torch.uint8, 4, 3) for own in columns.values()):
        raise ValueError("expected pictures of bytes")
    images = [
        PicturedImage(names[k], {name: own[place, :h, :w] for name, own in columns.items()})
        for place, (k, (h, w)) in enumerate(
            zip(found["shown"].tolist(), found["sizes"].tolist(), strict=True)
        )
    ]
    legend = dict(zip(classes, class_colors(len(classes), colors), strict=True))
    return PicturedImages("Objects", (legend,), tuple(images))


def masked_images(
    names: list[str], classes: list[str], found: Mapping[str, Tensor], colors: Any = None
) -> PicturedImages:
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
        image = {} if pictures is None else {"image": pictures[place, :height, :width]}
        made = {
            "truth": colored(truth, palette),
            "prediction": colored(prediction, palette),
            "difference": colored(state, [*DIFFERENCES.values()]),
        }
        note = f"{100 * right / counted:.1f} % of pixels right" if counted else ""
        images.append(PicturedImage(names[shown], image | made, note))
    legends = dict(zip(classes, palette, strict=True)), DIFFERENCES
    return PicturedImages("Masks", legends, tuple(images))
