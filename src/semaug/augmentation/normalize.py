"""From bytes to the input of a network."""

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from semaug._torch.checks import check_shapes
from semaug.augmentation.operator import check_bytes

# N images of C channels, H and W pixels.


def normalize(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Turn bytes into network input: ``(images / 255 - mean) / std``.

    Args:
        images: ``(N, C, H, W)`` uint8.
        mean: One number for each channel, on a scale of 0 to 1.
        std: Likewise, positive.

    Returns:
        ``(N, C, H, W)`` float32, in the memory format of the images.

    Raises:
        TypeError: If the images are not bytes.
        ValueError: If there is not one ``mean`` and one positive ``std`` for each channel.
    """
    check_shapes("normalize", images=(images, "N C H W"))
    check_bytes("normalize", images)
    if not len(mean) == len(std) == images.shape[1]:
        raise ValueError(
            f"normalize: expected one `mean` and `std` for each of {images.shape[1]} channels, "
            f"got {len(mean)} and {len(std)}"
        )
    if min(std) <= 0:
        raise ValueError(f"normalize: expected every `std` > 0, got {tuple(std)}")
    # The compiler keeps constants itself, and warns of caches.
    constants = _channel_constants if torch.compiler.is_compiling() else _cached_channel_constants
    offset, scale = constants(tuple(mean), tuple(std), images.device)
    return images.float().sub_(offset).mul_(scale)


def _channel_constants(
    mean: tuple[float, ...], std: tuple[float, ...], device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return ``255 mean`` and ``1 / (255 std)``, each of shape (C, 1, 1)."""
    offset = torch.tensor(mean, dtype=torch.float64) * 255
    scale = 1 / (torch.tensor(std, dtype=torch.float64) * 255)
    both = torch.stack([offset, scale]).float().to(device)
    return both[0].view(-1, 1, 1), both[1].view(-1, 1, 1)


# A fresh copy to an accelerator at every step would make the host wait.
_cached_channel_constants = lru_cache(maxsize=64)(_channel_constants)
