"""Random numbers that depend on the image, the step and the seed, and on nothing else.

A generator deals out its numbers in the order of the batch, so what an image gets depends on how
many processes share the batch. Here they are a hash of its position instead, made on its device.
"""

import math

import torch
from torch import Tensor

# N images.

_BITS = 32
_MASK = 2**_BITS - 1


def normal_draws(images: Tensor, positions: Tensor, step: int | Tensor, seed: int) -> Tensor:
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
    device, size = images.device, images[:1].numel()
    step = torch.as_tensor(step).to(device)
    rows = _mixed(positions + _mixed(step + _mixed(torch.tensor(seed & _MASK, device=device))))
    columns = _mixed(torch.arange(2 * math.ceil(size / 2), device=device))
    uniform = (_mixed(rows.unsqueeze(1) + columns) + 0.5).to(images.dtype) / 2**_BITS
    radius = (-2 * uniform[:, ::2].log()).sqrt()  # Box and Muller, 1958
    angle = 2 * math.pi * uniform[:, 1::2]
    normal = torch.cat([radius * angle.cos(), radius * angle.sin()], dim=1)
    return normal[:, :size].view(images.shape)


def _mixed(numbers: Tensor) -> Tensor:
    """Hash 32-bit numbers, held as int64; no product exceeds 63 bits."""
    numbers = numbers & _MASK
    for _ in range(2):
        numbers = ((numbers ^ (numbers >> 16)) * 0x45D9F3B) & _MASK
    return numbers ^ (numbers >> 16)
