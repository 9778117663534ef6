"""Boxes and objects: how one is written relative to another, which belong together, which train."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Matching", "decode_boxes", "encode_boxes", "sample"]

BACKGROUND, NEITHER = -1, -2  # instead of the number of an object

_LARGEST = math.log(1000 / 16)  # change of a side, as logarithm


def encode_boxes(boxes: Tensor, references: Tensor, stds: tuple[float, ...]) -> Tensor:
    """Write boxes relative to references.

    Args:
        boxes: ``(N, 4)`` xyxy.
        references: ``(N, 4)`` xyxy, with positive sides.
        stds: Four numbers that the result is divided by.

    Returns:
        ``(N, 4)``: the shift of the center in sides of the reference, and logarithms of the ratios
        of width and height; equation 2 of Ren et al., 2015, https://arxiv.org/abs/1506.01497.
    """
    centers, sides = _centered(boxes)
    origins, lengths = _centered(references)
    deltas = torch.cat([(centers - origins) / lengths, (sides / lengths).log()], dim=-1)
    return deltas / deltas.new_tensor(stds)


def decode_boxes(
    deltas: Tensor, references: Tensor, stds: tuple[float, ...], size: tuple[int, int]
) -> Tensor:
    """Undo :func:`encode_boxes`.

    Args:
        deltas: ``(..., 4)``. No side grows or shrinks by more than 1000 / 16.
        references: Of a shape that broadcasts to it.
        stds: As they were encoded with.
        size: Height and width that boxes are clipped to.
    """
    centers, sides = _centered(references)
    deltas = deltas * deltas.new_tensor(stds)
    centers = centers + deltas[..., :2] * sides
    halves = deltas[..., 2:].clamp(-_LARGEST, _LARGEST).exp() * sides / 2
    limits = deltas.new_tensor([size[1], size[0]] * 2)
    return torch.cat([centers - halves, centers + halves], dim=-1).clamp(min=0).minimum(limits)


def _centered(boxes: Tensor) -> tuple[Tensor, Tensor]:
    low, high = boxes[..., :2], boxes[..., 2:]
    return (low + high) / 2, high - low


@dataclass(frozen=True)
class Matching:
    """Which object a box is trained to find.

    Args:
        positive: Least IoU of a box with the object that it overlaps most.
        negative: Below this IoU with all objects a box is background; between both it is neither.
        low_quality: The boxes that overlap an object most, all of them in a tie, are positive too
            if this is their IoU at least; None is never.
        overwrite: Whether they get that object, the last one of several, even where they overlap
            another one more, as ``MaxIoUAssigner`` of MMDetection does it; else the one that they
            overlap most, as torchvision's ``Matcher``.
    """

    positive: float
    negative: float
    low_quality: float | None = None
    overwrite: bool = True

    def __call__(self, ious: Tensor) -> Tensor:
        """Match boxes.

        Args:
            ious: ``(G, N)`` of G objects and N boxes.

        Returns:
            ``(N,)`` int64: the number of an object, -1 for background, -2 for neither.
        """
        if not ious.numel():
            return torch.full(ious.shape[1:], BACKGROUND, device=ious.device)
        best, nearest = ious.max(dim=0)
        matches = nearest.masked_fill(best < self.positive, NEITHER)
        matches = matches.masked_fill(best < self.negative, BACKGROUND)
        if self.low_quality is None:
            return matches
        most = ious.amax(dim=1, keepdim=True)
        chosen = (ious == most) & (most >= self.low_quality)
        numbers = torch.arange(len(ious), device=ious.device)[:, None]
        wanted = (numbers * chosen).amax(dim=0) if self.overwrite else nearest
        return torch.where(chosen.any(dim=0), wanted, matches)


def sample(
    matches: Tensor, number: int, fraction: float, generator: torch.Generator | None
) -> tuple[Tensor, Tensor]:
    """Draw boxes to train on.

    Args:
        matches: ``(N,)`` of :class:`Matching`.
        number: Of boxes.
        fraction: Largest part of positive ones; background fills the rest, as far as there is any.
        generator: On the CPU; drawn from only where there are more boxes than wanted.

    Returns:
        Places of positive boxes and of background.
    """
    positive = _some(matches >= 0, int(number * fraction), generator)
    return positive, _some(matches == BACKGROUND, number - len(positive), generator)


def _some(of: Tensor, number: int, generator: torch.Generator | None) -> Tensor:
    places = of.nonzero()[:, 0]
    if len(places) <= number:
        return places
    return places[torch.randperm(len(places), generator=generator)[:number].to(places.device)]
