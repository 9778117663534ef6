"""In what order the images of a set are visited."""

import torch
from torch import Tensor


def epoch_order(num_images: int, generator: torch.Generator) -> Tensor:
    """Draw the order in which one epoch visits the images.

    Batches are consecutive pieces of it; a shorter one at the end is kept.

    Args:
        num_images: Size of the set.
        generator: On the CPU.

    Returns:
        ``(num_images,)`` int64, a permutation, on the CPU.
    """
    return torch.randperm(num_images, generator=generator)
