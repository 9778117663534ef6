"""Random numbers that depend on the image, the step and the seed, and on nothing else.

A generator deals out its numbers in the order of the batch, so what an image gets depends on how
many processes share the batch. Here they are a hash of its position instead, made on its device.
"""

import math

import torch
from torch import Tensor

from semaug._torch.distributed import rank_and_size

# N images.

_BITS = 32
_MASK = 2**_BITS - 1


def random_bits(
    positions: Tensor, step: int | Tensor, seed: int | Tensor, num_columns: int
) -> Tensor:
    """Draw whole numbers below 2^32, ``(N, num_columns)`` int64.

    Args:
        positions: ``(N,)`` int64, of the images in their set.
        step: Of the run.
        seed: Of the run and of the purpose.
        num_columns: How many each image gets.
    """
    device = positions.device
    step, seed = (torch.as_tensor(number).to(device) for number in (step, seed))
    rows = _mixed(positions + _mixed(step + _mixed(seed)))
    columns = _mixed(torch.arange(num_columns, device=device))
    return _mixed(rows.unsqueeze(1) + columns)


def normal_draws(
    images: Tensor, positions: Tensor, step: int | Tensor, seed: int | Tensor
) -> Tensor:
    """Draw standard normal numbers for each pixel.

    Args:
        images: ``(N, ...)``, whose shape, dtype and device the numbers have.
        positions: ``(N,)`` int64, of the images in their set.
        step: Of the run.
        seed: Of the run and of the purpose.

    >>> images = torch.zeros(3, 2)
    >>> both = normal_draws(images, torch.tensor([4, 7, 4]), 0, seed=0)
    >>> torch.equal(both[0], both[2]), torch.equal(both[0], both[1])
    (True, False)
    """
    size = images[:1].numel()
    bits = random_bits(positions.to(images.device), step, seed, 2 * math.ceil(size / 2))
    uniform = (bits + 0.5).to(images.dtype) / 2**_BITS
    radius = (-2 * uniform[:, ::2].log()).sqrt()  # Box and Muller, 1958
    angle = 2 * math.pi * uniform[:, 1::2]
    normal = torch.cat([radius * angle.cos(), radius * angle.sin()], dim=1)
    return normal[:, :size].view(images.shape)


def places_in_batch(positions: Tensor | None, num_samples: int, device: torch.device) -> Tensor:
    """Return the positions of samples, or, of a loop that has none, places in the joint batch.

    Args:
        positions: ``(N,)`` int64.
        num_samples: N.
        device: Of what is returned.
    """
    if positions is None:
        rank, size = rank_and_size()
        return torch.arange(num_samples, device=device) * size + rank
    return positions.to(device)


def _mixed(numbers: Tensor) -> Tensor:
    """Hash 32-bit numbers, held as int64; no product exceeds 63 bits."""
    numbers = numbers & _MASK
    for _ in range(2):
        numbers = ((numbers ^ (numbers >> 16)) * 0x45D9F3B) & _MASK
    return numbers ^ (numbers >> 16)
