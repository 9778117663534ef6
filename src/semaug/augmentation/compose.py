"""Several augmentations, one after the other."""

from collections.abc import Iterator

import torch
from torch import Tensor

from semaug.augmentation.operator import (
    Augmentation,
    check_images_and_draws,
    check_masks_and_draws,
)


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

    @property
    def draw_names(self) -> tuple[str, ...]:
        """What each of the draws decides about."""
        return tuple(name for one in self.augmentations for name in one.draw_names)

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
        check_images_and_draws(self, images, draws)
        for augmentation, own in self._split(draws):
            images = augmentation(images, own)
        return images

    def move(self, masks: Tensor, draws: Tensor) -> Tensor:
        """Move masks as all augmentations do, one after the other; see :meth:`Augmentation.move`.

        Raises:
            TypeError: If a dtype is another one.
            ValueError: If shapes disagree, or one of the augmentations cannot move masks.
        """
        check_masks_and_draws(self, masks, draws)
        for augmentation, own in self._split(draws):
            masks = augmentation.move(masks, own)
        return masks

    @property
    def masks_choose(self) -> bool:
        """Whether they do for one of the augmentations."""
        return any(one.masks_choose for one in self.augmentations)

    def choose_draws(self, masks: Tensor, draws: Tensor) -> Tensor:
        """Let each augmentation choose by the masks as it gets them."""
        if not self.masks_choose:
            return draws
        check_masks_and_draws(self, masks, draws)
        chosen = []
        for augmentation, own in self._split(draws):
            chosen.append(augmentation.choose_draws(masks, own))
            masks = augmentation.move(masks, chosen[-1])
        return torch.cat(chosen, dim=1)

    def _split(self, draws: Tensor) -> Iterator[tuple[Augmentation, Tensor]]:
        columns = torch.split(draws, [x.num_draws for x in self.augmentations], dim=1)
        return zip(self.augmentations, columns, strict=True)
