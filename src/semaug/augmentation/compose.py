"""Several augmentations, one after the other."""

import torch
from torch import Tensor

from semaug.augmentation.operator import Augmentation, check_images_and_draws

__all__ = ["Compose"]


class Compose(Augmentation):
    """Apply augmentations in order; each takes the next of the columns drawn.

    Args:
        augmentations: What to apply; with none of them, images stay as they are.

    Raises:
        TypeError: If one is not an :class:`Augmentation`.

    >>> from semaug.augmentation import Compose, CropFlip, Translate
    >>> Compose(CropFlip(padding=4), Translate(pixels=2)).num_draws
    5
    """

    def __init__(self, *augmentations: Augmentation) -> None:
        for augmentation in augmentations:
            if not isinstance(augmentation, Augmentation):
                raise TypeError(
                    f"Compose: expected objects of type Augmentation, got {augmentation!r}"
                )
        self.augmentations = augmentations

    def __repr__(self) -> str:
        return f"Compose({', '.join(map(repr, self.augmentations))})"

    @property
    def num_draws(self) -> int:
        """How many random numbers decide what becomes of one image."""
        return sum(augmentation.num_draws for augmentation in self.augmentations)

    def __call__(self, images: Tensor, draws: Tensor) -> Tensor:
        """Augment a batch.

        Args:
            images: ``(N, C, H, W)``, of a dtype that all augmentations take.
            draws: ``(N, num_draws)``, the rows of :meth:`draw` for these images.

        Returns:
            ``(N, C, H, W)`` of the same dtype.

        Raises:
            TypeError: If ``draws`` are not floating-point numbers.
            ValueError: If shapes disagree.
        """
        check_images_and_draws("Compose", images, draws, self.num_draws)
        columns = torch.split(draws, [x.num_draws for x in self.augmentations], dim=1)
        for augmentation, own in zip(self.augmentations, columns, strict=True):
            images = augmentation(images, own)
        return images
