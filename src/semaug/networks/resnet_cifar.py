"""ResNets for small images (CIFAR): a 3x3 stem and three stages of 16, 32 and 64 channels.

A network of depth ``6n + 2`` has ``n`` blocks of two 3x3 convolutions in each stage;
the second and third stage begin by halving height and width. The shortcut of those two
blocks is one of:

- ``"projection"`` (the default): 1x1 convolution of stride 2 and batch norm, option B of
  the source. The networks behind the tables of ISDA have it: only so does ResNet-32 cost
  their 69.43 million operations, and ResNet-110 their 254.20 million.
- ``"pad"``: every second pixel, and zeros for the new channels, option A of the source.
  It has no parameters.

``block_drop_rate`` is dropout between the two convolutions of each block, after the ReLU, as the
released code of ISDA has it; "Basic + Dropout" and "ISDA + Dropout" in its tables are 0.3.

Source: He et al., CVPR 2016, section 4.2, https://arxiv.org/abs/1512.03385
"""

from collections.abc import Callable
from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from semaug._torch.checks import check_one_of, check_positive_int
from semaug.networks.cifar import (
    CifarNetwork,
    Variant,
    conv_norm,
    projection,
    register_family,
)

VARIANTS = {
    "resnet8_cifar": Variant(
        "one block a stage, 0.08M parameters; for digits and quick looks", {"blocks_per_stage": 1}
    ),
    "resnet20_cifar": Variant("three blocks a stage, 0.27M parameters", {"blocks_per_stage": 3}),
    "resnet32_cifar": Variant(
        "five blocks a stage, 0.47M parameters; the small network of the papers",
        {"blocks_per_stage": 5},
    ),
    "resnet44_cifar": Variant("seven blocks a stage, 0.66M parameters", {"blocks_per_stage": 7}),
    "resnet56_cifar": Variant("nine blocks a stage, 0.86M parameters", {"blocks_per_stage": 9}),
    "resnet110_cifar": Variant(
        "eighteen blocks a stage, 1.73M parameters; the deep one of the papers",
        {"blocks_per_stage": 18},
    ),
}

_SHORTCUTS = ("projection", "pad")


class PadShortcut(nn.Module):
    """Every second pixel, and zero for the channels that the input does not have."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.num_new = out_channels - in_channels

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C + new, ceil(H / 2), ceil(W / 2))."""
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, self.num_new))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut around them.

    Args:
        in_channels: Of the input.
        out_channels: Of the output.
        stride: Of the first convolution.
        shortcut: ``"projection"`` or ``"pad"``, used where ``stride`` is 2.
        attention: Makes, from ``out_channels``, what the convolved maps go through last.
        drop_rate: Dropout between the convolutions.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int,
        shortcut: str,
        attention: Callable[[int], nn.Module] = nn.Identity,
        drop_rate: float = 0.0,
    ) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv_norm(in_channels, out_channels, 3, stride)
        self.act1 = nn.ReLU(inplace=True)
        self.drop = nn.Dropout(drop_rate)
        self.conv2, self.bn2 = conv_norm(out_channels, out_channels, 3)
        self.attention = attention(out_channels)
        self.shortcut = (
            PadShortcut(in_channels, out_channels)
            if shortcut == "pad" and stride == 2
            else projection(in_channels, out_channels, stride)
        )
        self.act2 = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C_in, H, W) to (N, C_out, ceil(H / stride), ceil(W / stride))."""
        residual = self.drop(self.act1(self.bn1(self.conv1(x))))
        residual = self.attention(self.bn2(self.conv2(residual)))
        return self.act2(residual + self.shortcut(x))


class CifarResNet(CifarNetwork):
    """ResNet of depth ``6 * blocks_per_stage + 2``, with the methods timm expects.

    Args:
        blocks_per_stage: n of the source; 5 gives ResNet-32.
        num_classes: Outputs of the classifier; 0 leaves the features.
        in_chans: Channels of the images.
        global_pool: Pooling of timm before the classifier; ``""`` leaves feature maps.
        drop_rate: Dropout before the classifier.
        shortcut: ``"projection"`` or ``"pad"``, see the top of this file.
        attention: Makes, from its number of channels, what the convolved maps of each block
            go through before they are added; nothing by default.
        block_drop_rate: Dropout between the two convolutions of each block.

    Raises:
        TypeError: If a size is not an int.
        ValueError: If ``blocks_per_stage`` or ``in_chans`` is below 1, ``shortcut`` unknown, or a
            rate outside of 0 to 1.
    """

    def __init__(
        self,
        blocks_per_stage: int,
        num_classes: int = 10,
        in_chans: int = 3,
        global_pool: str = "avg",
        drop_rate: float = 0.0,
        shortcut: str = "projection",
        attention: Callable[[int], nn.Module] = nn.Identity,
        block_drop_rate: float = 0.0,
    ) -> None:
        super().__init__()
        check_positive_int("CifarResNet", blocks_per_stage=blocks_per_stage, in_chans=in_chans)
        check_one_of("CifarResNet", "shortcut", shortcut, _SHORTCUTS)
        self.make_stem(in_chans, 16, act=nn.ReLU(inplace=True))
        block = partial(
            BasicBlock, shortcut=shortcut, attention=attention, drop_rate=block_drop_rate
        )
        self.make_stages(block, blocks_per_stage, (16, 16, 32, 64))
        maps = {"act1": 16, "layer1": 16, "layer2": 32, "layer3": 64}
        self.finish(maps, num_classes, global_pool, drop_rate)  # weights start as in the source


register_family(__name__, CifarResNet, VARIANTS, paper="arXiv:1512.03385")
