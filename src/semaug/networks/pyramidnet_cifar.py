"""PyramidNets for small images, with ShakeDrop.

Instead of doubling where height and width are halved, channels grow a little in every block:
block k of B has ``round(16 + alpha k / B)``. The shortcut has no parameters: an average of
2 x 2 pixels where the block halves, and zeros for the new channels.

ShakeDrop disturbs the residual branch of each block while training. Block l of L is left as it
is with probability ``1 - shakedrop * l / L``; else its branch is multiplied by a number from
[-1, 1] in the forward pass and by another from [0, 1] in the backward pass. In evaluation
mode the branch is multiplied by the mean, which is that probability. ``level`` says whether
this is drawn for each ``"image"`` (the default) or once for the ``"batch"``.

Source: Han et al., CVPR 2017, https://arxiv.org/abs/1610.02915;
ShakeDrop: Yamada et al., 2018, https://arxiv.org/abs/1802.02375, with its ranges of alpha and
beta and its linear decay to p_L = 0.5
"""

from collections.abc import Callable
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semaug._torch.checks import check_at_least, check_one_of, check_positive_int
from semaug.networks._shake import LEVELS, scale, uniform
from semaug.networks.cifar import CifarNetwork, Variant, conv_norm, register_family

_STEM_CHANNELS = 16
_EXPANSION = 4  # of bottlenecks


VARIANTS = {
    "pyramidnet110_a48_cifar": Variant(
        "PyramidNet up to 64 channels, 1.8M parameters", {"blocks_per_stage": 18, "alpha": 48}
    ),
    "pyramidnet110_a200_cifar": Variant(
        "PyramidNet up to 216 channels with ShakeDrop, 16.6M parameters",
        {"blocks_per_stage": 18, "alpha": 200, "shakedrop": 0.5},
    ),
    "pyramidnet110_a270_cifar": Variant(
        "PyramidNet up to 286 channels, 28.5M parameters", {"blocks_per_stage": 18, "alpha": 270}
    ),
    "pyramidnet272_a200_cifar": Variant(
        "PyramidNet of bottlenecks with ShakeDrop, 26.2M parameters",
        {"blocks_per_stage": 30, "alpha": 200, "bottleneck": True, "shakedrop": 0.5},
    ),
}


class ShakeDrop(nn.Module):
    """Multiply by random numbers while training, by their mean when evaluating.

    Args:
        probability: Of disturbing, between 0 and 1.
        level: ``"image"`` or ``"batch"``.
    """

    def __init__(self, probability: float, level: str) -> None:
        super().__init__()
        self.probability, self.level = probability, level

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        if self.probability == 0:
            return x
        if not self.training:
            return x * (1 - self.probability)
        chance, alpha, beta = uniform(x, self.level, 3)
        kept = chance >= self.probability
        return scale(x, torch.where(kept, 1.0, 2 * alpha - 1), torch.where(kept, 1.0, beta))

    def extra_repr(self) -> str:
        """Show the arguments."""
        return f"probability={self.probability:.3g}, level={self.level!r}"


class PyramidBlock(nn.Module):
    """Batch norms and convolutions, ShakeDrop, and a shortcut of fewer channels.

    Args:
        body: From batch norm to batch norm.
        shakedrop: What disturbs its output.
        num_new: Channels that the input does not have.
        stride: Of the body.
    """

    def __init__(
        self, body: nn.Sequential, shakedrop: ShakeDrop, num_new: int, stride: int
    ) -> None:
        super().__init__()
        self.body, self.shakedrop, self.num_new = body, shakedrop, num_new
        self.pool = nn.Identity() if stride == 1 else nn.AvgPool2d(2, 2, ceil_mode=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C + num_new, ceil(H / stride), ceil(W / stride))."""
        shortcut = F.pad(self.pool(x), (0, 0, 0, 0, 0, self.num_new))
        return shortcut + self.shakedrop(self.body(x))


def _basic(in_channels: int, channels: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.BatchNorm2d(in_channels),
        *conv_norm(in_channels, channels, 3, stride),
        nn.ReLU(inplace=True),
        *conv_norm(channels, channels, 3),
    )


def _bottleneck(in_channels: int, channels: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.BatchNorm2d(in_channels),
        *conv_norm(in_channels, channels, 1),
        nn.ReLU(inplace=True),
        *conv_norm(channels, channels, 3, stride),
        nn.ReLU(inplace=True),
        *conv_norm(channels, _EXPANSION * channels, 1),
    )


class CifarPyramidNet(CifarNetwork):
    """PyramidNet of three stages, with the methods timm expects.

    Random numbers come from torch's generator of the device.

    Args:
        blocks_per_stage: 18 gives PyramidNet-110, 30 bottlenecks PyramidNet-272.
        alpha: Channels that all blocks together add, before bottlenecks widen them.
        bottleneck: Blocks of three convolutions that end in four times as many channels.
        num_classes: Outputs of the classifier; 0 leaves the features.
        in_chans: Channels of the images.
        global_pool: Pooling of timm before the classifier; ``""`` leaves feature maps.
        drop_rate: Dropout before the classifier.
        shakedrop: Probability of disturbing the last block, 1 - p_L of ShakeDrop; those before
            it are disturbed less, in proportion to their number. 0 switches it off.
        level: ``"image"`` or ``"batch"``, see the top of this file.

    Raises:
        TypeError: If a size is not an int.
        ValueError: If a size is below 1, ``shakedrop`` no probability, or ``level`` unknown.
    """

    def __init__(
        self,
        blocks_per_stage: int,
        alpha: int,
        bottleneck: bool = False,
        num_classes: int = 10,
        in_chans: int = 3,
        global_pool: str = "avg",
        drop_rate: float = 0.0,
        shakedrop: float = 0.0,
        level: str = "image",
    ) -> None:
        super().__init__()
        check_positive_int(
            "CifarPyramidNet", blocks_per_stage=blocks_per_stage, alpha=alpha, in_chans=in_chans
        )
        check_at_least("CifarPyramidNet", "shakedrop", shakedrop, 0)
        if shakedrop > 1:
            raise ValueError(f"CifarPyramidNet: expected `shakedrop` <= 1, got {shakedrop}")
        check_one_of("CifarPyramidNet", "level", level, LEVELS)
        self.make_stem(in_chans, _STEM_CHANNELS)
        num_blocks = 3 * blocks_per_stage
        widths = [round(_STEM_CHANNELS + alpha * k / num_blocks) for k in range(num_blocks + 1)]
        expansion = _EXPANSION if bottleneck else 1
        channels = [_STEM_CHANNELS, *(expansion * width for width in widths[1:])]
        body = _bottleneck if bottleneck else _basic
        blocks = _blocks(body, widths, channels, shakedrop, level)
        stages = [blocks[i : i + blocks_per_stage] for i in range(0, num_blocks, blocks_per_stage)]
        self.layer1, self.layer2, self.layer3 = (nn.Sequential(*stage) for stage in stages)
        ends = channels[::blocks_per_stage]
        self.finish(
            dict(zip(("bn1", "layer1", "layer2", "layer3"), ends, strict=True)),
            num_classes,
            global_pool,
            drop_rate,
            norm=nn.BatchNorm2d(ends[-1]),
            act=nn.ReLU(inplace=True),
        )


def _blocks(
    body: Callable[[int, int, int], nn.Sequential],
    widths: list[int],
    channels: list[int],
    shakedrop: float,
    level: str,
) -> list[PyramidBlock]:
    """Make the blocks of all stages from the channels before and after each."""
    num_blocks = len(channels) - 1
    halving = (num_blocks // 3, 2 * num_blocks // 3)
    strides = [2 if k in halving else 1 for k in range(num_blocks)]
    sizes = zip(pairwise(channels), widths[1:], strides, strict=True)
    return [
        PyramidBlock(
            body(before, width, stride),
            ShakeDrop(shakedrop * k / num_blocks, level),
            after - before,
            stride,
        )
        for k, ((before, after), width, stride) in enumerate(sizes, start=1)
    ]


register_family(__name__, CifarPyramidNet, VARIANTS, paper="arXiv:1610.02915")
