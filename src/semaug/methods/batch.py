"""What a method takes and gives back."""

from typing import NamedTuple

from torch import Tensor

__all__ = ["Batch", "StepOutput"]


class Batch(NamedTuple):
    """Images as the network takes them, and their labels."""

    images: Tensor  # (N, 3, H, W) float32; (V, N, 3, H, W) where a method wants V > 1 views
    labels: Tensor  # (N,) int64
    targets: Tensor | None = None  # (N, C) soft targets of mixed images, instead of the labels


class StepOutput(NamedTuple):
    """What one step computed."""

    loss: Tensor  # scalar
    logits: Tensor  # (N, C), those of the clean features, of the first view and network
