"""Networks of DCGAN's shape for square images of 4 x 2^k pixels, such as 8, 32 and 64.

A generator begins with 4 x 4 pixels and doubles them k times; a critic halves images k times and
ends in one number. At 32 pixels and a width of 64 they are those of the code of Wasserstein GAN:
100 - 256 - 128 - 64 - 3 channels with 4 x 4 kernels.

``groups`` networks may stand side by side as the groups of one: convolutions of groups do not mix
them, and batch norm is by channel, so they are what that many networks of their own would be.

Source: Radford et al., ICLR 2016, https://arxiv.org/abs/1511.06434; Arjovsky et al., ICML 2017,
https://arxiv.org/abs/1701.07875 and its code; Gulrajani et al., NeurIPS 2017,
https://arxiv.org/abs/1704.00028 and its code, for 5 x 5 kernels and :func:`he_weights`
"""

import math
from typing import Any

from torch import Tensor, nn

from semaug.errors import UserError

__all__ = ["critic_layers", "doublings", "generator_layers", "he_weights", "normal_weights"]

# N images of C x H x W.


def doublings(side: int) -> int:
    """Return how often 4 pixels are doubled to give ``side``.

    Raises:
        UserError: If they never do.

    >>> doublings(8), doublings(32)
    (1, 3)
    """
    count = round(math.log2(max(side, 1) / 4))
    if count < 1 or 4 * 2**count != side:
        raise UserError(
            f"recipe: expected square images of 8, 16, 32, 64, ... pixels for a generator, got "
            f"{side}"
        )
    return count


class FromVector(nn.Module):
    """Give a vector ``(N, Z)`` one pixel: ``(N, Z, 1, 1)``."""

    def forward(self, z: Tensor) -> Tensor:
        """Map (N, Z) to (N, Z, 1, 1)."""
        return z[:, :, None, None]


def generator_layers(
    num_inputs: int, channels: int, side: int, width: int, *, kernel: int = 4, groups: int = 1
) -> nn.Sequential:
    """Return layers that map ``(N, groups * num_inputs)`` to images from -1 to 1.

    Args:
        num_inputs: Z, of each group.
        channels: C of an image.
        side: Height and width of an image.
        width: Channels before the last layer.
        kernel: 4 or 5.
        groups: Networks side by side; their images lie one after the other in the channels.
    """
    sizes = [width * 2**power for power in reversed(range(doublings(side)))]

    def up(inputs: int, outputs: int) -> nn.Module:
        way: dict[str, Any] = {4: {"padding": 1}, 5: {"padding": 2, "output_padding": 1}}[kernel]
        channels = groups * inputs, groups * outputs
        return nn.ConvTranspose2d(*channels, kernel, stride=2, groups=groups, bias=False, **way)

    first = nn.ConvTranspose2d(groups * num_inputs, groups * sizes[0], 4, groups=groups, bias=False)
    layers: list[nn.Module] = [FromVector(), first]
    for inputs, outputs in zip(sizes, [*sizes[1:], channels], strict=True):
        layers += [nn.BatchNorm2d(groups * inputs), nn.ReLU(), up(inputs, outputs)]
    return nn.Sequential(*layers, nn.Tanh())


def critic_layers(
    channels: int, side: int, width: int, *, kernel: int = 4, groups: int = 1, norm: bool = True
) -> nn.Sequential:
    """Return layers that map images ``(N, groups * C, H, W)`` to scores ``(N, groups)``.

    Args:
        channels: C of an image.
        side: H and W.
        width: Channels after the first layer.
        kernel: 4 or 5.
        groups: Networks side by side.
        norm: Whether all but the first layer have batch norm; else convolutions have biases.
    """
    layers: list[nn.Module] = []
    inputs = channels
    for power in range(doublings(side)):
        outputs = width * 2**power
        layers.append(
            nn.Conv2d(
                *(groups * inputs, groups * outputs, kernel, 2, (kernel - 1) // 2),
                groups=groups,
                bias=not norm,
            )
        )
        layers += [nn.BatchNorm2d(groups * outputs)] if norm and power > 0 else []
        layers.append(nn.LeakyReLU(0.2))
        inputs = outputs
    last = nn.Conv2d(groups * inputs, groups, 4, groups=groups, bias=not norm)
    return nn.Sequential(*layers, last, nn.Flatten())


def normal_weights(network: nn.Module) -> None:
    """Draw kernels from N(0, 0.02^2) and gains of batch norms from N(1, 0.02^2), as DCGAN does."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.normal_(module.weight, 0.0, 0.02)
        elif isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            nn.init.normal_(module.weight, 1.0, 0.02)


def he_weights(network: nn.Module) -> None:
    """Draw kernels of variance 4 / (inputs + outputs), uniformly, each group by itself."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            for part in module.weight.data.chunk(module.groups):
                nn.init.xavier_uniform_(part, gain=2**0.5)
