"""What a detector learns from and what it finds: boxes in one image, with classes and masks.

Boxes are (x1, y1, x2, y2) in pixels of the image as the detector sees it, without rounding: x2 − x1
is the width. Classes count from 0.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

__all__ = ["Detections", "Target"]


@dataclass(frozen=True)
class Target:
    """The objects of one image.

    Args:
        boxes: (N, 4) float32; (0, 4) for an image without objects.
        labels: (N,) int64 classes.
        masks: (N, H, W) bool, of the image's height and width before padding; None where masks
            are not learned.
        crowds: (M, 4) boxes around many objects at once, which no box is trained to match.
    """

    boxes: Tensor
    labels: Tensor
    masks: Tensor | None = None
    crowds: Tensor = field(default_factory=lambda: torch.zeros(0, 4))


@dataclass(frozen=True)
class Detections:
    """What a detector found in one image, best score first.

    Args:
        boxes: (N, 4) float32, clipped to the image.
        scores: (N,) float32 probabilities.
        labels: (N,) int64 classes.
        masks: (N, H, W) bool, of the image's height and width before padding, or None.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    masks: Tensor | None = None

    def above(self, least: float, most: int | None = None) -> "Detections":
        """Return those with a score of at least ``least``, ``most`` of them or all, on the CPU."""
        rows = (self.scores >= least).nonzero()[:most, 0]
        own = self.boxes, self.scores, self.labels, self.masks
        return Detections(*(None if one is None else one[rows].cpu() for one in own))  # type: ignore[arg-type]
