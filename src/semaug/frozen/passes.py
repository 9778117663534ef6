"""Augmentation of kept features: each image shows one of its passes."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from semaug.augmentation import Augmentation
from semaug.augmentation.operator import check_images_and_draws

__all__ = ["OnePass", "Passes"]


class OnePass(Augmentation):
    """Pick one of several passes of each image.

    >>> features = torch.arange(6.0).view(1, 2, 1, 3)  # two features, three passes
    >>> OnePass()(features, torch.tensor([[0.4]])).flatten()
    tensor([1., 4.])
    """

    @property
    def num_draws(self) -> int:
        """One, which pass."""
        return 1

    def __call__(self, images: Tensor, draws: Tensor) -> Tensor:
        """Pick passes.

        Args:
            images: ``(N, A, 1, K)``, A features of K passes.
            draws: ``(N, 1)``.

        Returns:
            ``(N, A, 1, 1)``.

        Raises:
            TypeError: If ``draws`` are not floating-point numbers.
            ValueError: If shapes disagree.
        """
        check_images_and_draws(self, images, draws)
        chosen = (draws[:, 0] * images.shape[3]).long()
        return images[torch.arange(len(images), device=images.device), ..., chosen].unsqueeze(3)


@dataclass(frozen=True, kw_only=True)
class Passes:
    """One of the passes that were kept of each image, drawn anew in each epoch."""

    def build(self, data: Any) -> OnePass:
        """Build the augmentation."""
        return OnePass()
