"""What every augmentation of a batch has in common.

An augmentation is a function of images and of uniform random numbers, its *draws*: one row
of them for each image. They are drawn for all images of a set at once, on the CPU, and
batches take their rows. So what becomes of an image depends on the seed and on the place of
the image in its set: batch size, device, number of processes and the moment at which a run
was resumed change nothing.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from semaug._checks import check_floating, check_shapes

__all__ = ["Augmentation", "check_bytes", "check_images_and_draws"]

# N images of C channels, H and W pixels; K draws for each image.


class Augmentation(ABC):
    """A random change of images, each with its own decisions, a whole batch at once."""

    @property
    @abstractmethod
    def num_draws(self) -> int:
        """How many random numbers decide what becomes of one image."""

    def draw(self, num_images: int, generator: torch.Generator) -> Tensor:
        """Draw the decisions of one epoch, one row for each image of the set.

        Args:
            num_images: Size of the set.
            generator: On the CPU.

        Returns:
            ``(num_images, num_draws)`` float32, uniform in [0, 1), on the CPU.
        """
        return torch.rand(num_images, self.num_draws, generator=generator)

    @abstractmethod
    def __call__(self, images: Tensor, draws: Tensor) -> Tensor:
        """Augment a batch.

        Args:
            images: ``(N, C, H, W)``; they stay as they are.
            draws: ``(N, num_draws)``, the rows of :meth:`draw` for these images. On an
                accelerator they should lie there already: moving them makes the host wait.

        Returns:
            ``(N, C, H, W)`` of the same dtype.
        """


def check_images_and_draws(function: str, images: Tensor, draws: Tensor, num_draws: int) -> None:
    """Check what an augmentation is called with.

    Raises:
        TypeError: If ``draws`` are not floating-point numbers.
        ValueError: If shapes disagree.
    """
    check_shapes(function, images=(images, "N C H W"), draws=(draws, f"N {num_draws}"))
    check_floating(function, draws=draws)


def check_bytes(function: str, images: Tensor) -> None:
    """Check that images are bytes.

    Raises:
        TypeError: If they are not.
    """
    if images.dtype != torch.uint8:
        raise TypeError(f"{function}: expected `images` of dtype torch.uint8, got {images.dtype}")
