"""DenseNets for small images: each layer sees the outputs of all layers before it.

A DenseNet-BC of depth ``6n + 4`` and growth rate k has three blocks of n layers, after a 3x3
convolution to 2k channels. A layer takes all maps of its block so far and adds k more:

    bn, relu, 1x1 convolution to 4k channels, bn, relu, 3x3 convolution to k channels

Between blocks bn, relu and a 1x1 convolution halve the channels, and mean pooling height and
width; the last block is followed by batch norm and ReLU. Dropout, 0.2 in the source where
images are not augmented, follows every convolution but the first.

With checkpointing only the k new maps of each layer are kept: concatenating, normalizing and
convolving them is repeated in the backward pass, and memory grows with the depth of a block,
not with its square.

Convolutions start from a normal of variance 2 / fan-out, the bias of the classifier at 0, as
in the code of the source.

Source: Huang et al., CVPR 2017, section 3, https://arxiv.org/abs/1608.06993; what is kept:
Pleiss et al., 2017, https://arxiv.org/abs/1707.06990
"""

from collections import OrderedDict
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from semaug._torch.checks import check_positive_int
from semaug.networks.cifar import CifarNetwork, Variant, checkpointed, register_family

VARIANTS = {
    "densenet_bc100_12_cifar": Variant(
        "sixteen layers a block, 12 new maps each, 0.77M parameters; the one of the papers",
        {"layers_per_block": 16, "growth_rate": 12},
    ),
    "densenet_bc190_40_cifar": Variant(
        "31 layers a block, 40 new maps each, 25.6M parameters; the big one of the papers",
        {"layers_per_block": 31, "growth_rate": 40},
    ),
}

_BOTTLENECK = 4  # channels between the convolutions of a layer, for each new map


class DenseLayer(nn.Sequential):
    """Makes ``growth_rate`` new maps of all that were made before."""

    def __init__(self, in_channels: int, growth_rate: int, drop_rate: float) -> None:
        between = _BOTTLENECK * growth_rate
        super().__init__(
            OrderedDict(
                bn1=nn.BatchNorm2d(in_channels),
                act1=nn.ReLU(inplace=True),
                conv1=nn.Conv2d(in_channels, between, 1, bias=False),
                drop1=nn.Dropout(drop_rate),
                bn2=nn.BatchNorm2d(between),
                act2=nn.ReLU(inplace=True),
                conv2=nn.Conv2d(between, growth_rate, 3, 1, 1, bias=False),
                drop2=nn.Dropout(drop_rate),
            )
        )

    def forward(self, *maps: Tensor) -> Tensor:
        """Map several (N, C_i, H, W), together ``in_channels``, to (N, growth_rate, H, W)."""
        return super().forward(torch.cat(maps, 1))


class DenseBlock(nn.Sequential):
    """Layers that each take the input of the block and the maps of all layers before."""

    grad_checkpointing = False

    def __init__(
        self, num_layers: int, in_channels: int, growth_rate: int, drop_rate: float
    ) -> None:
        super().__init__(
            *(
                DenseLayer(in_channels + i * growth_rate, growth_rate, drop_rate)
                for i in range(num_layers)
            )
        )
        self.out_channels = in_channels + num_layers * growth_rate

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, out_channels, H, W), the input among them."""
        maps = [x]
        is_checkpointed = self.grad_checkpointing and self.training
        for layer in self:
            maps.append(checkpointed(layer, *maps) if is_checkpointed else layer(*maps))
        return torch.cat(maps, 1)


class Transition(nn.Sequential):
    """Halves channels, height and width between two blocks, rounding down."""

    def __init__(self, in_channels: int, drop_rate: float) -> None:
        super().__init__(
            OrderedDict(
                bn=nn.BatchNorm2d(in_channels),
                act=nn.ReLU(inplace=True),
                conv=nn.Conv2d(in_channels, in_channels // 2, 1, bias=False),
                drop=nn.Dropout(drop_rate),
                pool=nn.AvgPool2d(2),
            )
        )
        self.out_channels = in_channels // 2


class CifarDenseNet(CifarNetwork):
    """DenseNet-BC of depth ``6 * layers_per_block + 4``, with the methods timm expects.

    Args:
        layers_per_block: 16 gives depth 100.
        growth_rate: k of the source; new maps of each layer.
        num_classes: Outputs of the classifier; 0 leaves the features.
        in_chans: Channels of the images.
        global_pool: Pooling of timm before the classifier; ``""`` leaves feature maps.
        drop_rate: Dropout before the classifier.
        block_drop_rate: Dropout after each convolution but the first.

    Raises:
        TypeError: If a size is not an int.
        ValueError: If a size is below 1, or a rate outside of 0 to 1.
    """

    def __init__(
        self,
        layers_per_block: int,
        growth_rate: int,
        num_classes: int = 10,
        in_chans: int = 3,
        global_pool: str = "avg",
        drop_rate: float = 0.0,
        block_drop_rate: float = 0.0,
    ) -> None:
        super().__init__()
        check_positive_int(
            "CifarDenseNet",
            layers_per_block=layers_per_block,
            growth_rate=growth_rate,
            in_chans=in_chans,
        )
        block = partial(
            DenseBlock, layers_per_block, growth_rate=growth_rate, drop_rate=block_drop_rate
        )

        self.make_stem(in_chans, 2 * growth_rate, norm=False)
        self.layer1 = block(2 * growth_rate)
        self.transition1 = Transition(self.layer1.out_channels, block_drop_rate)
        self.layer2 = block(self.transition1.out_channels)
        self.transition2 = Transition(self.layer2.out_channels, block_drop_rate)
        self.layer3 = block(self.transition2.out_channels)
        ends = [block.out_channels for block in self.stages()]
        self.finish(
            {"conv1": 2 * growth_rate, "layer1": ends[0], "layer2": ends[1], "act": ends[2]},
            num_classes,
            global_pool,
            drop_rate,
            norm=nn.BatchNorm2d(ends[2]),
            act=nn.ReLU(inplace=True),
            zero_bias=True,
        )

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Patterns that sort parameters into groups by depth; a transition ends its block."""
        matcher = super().group_matcher(coarse)
        matcher["blocks"].append((r"^transition(\d+)", (99999,)))
        return matcher

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Trade time for memory: keep only the new maps of each layer for the backward pass."""
        super().set_grad_checkpointing(enable)
        for block in self.stages():
            block.grad_checkpointing = enable

    def forward_stages(self, x: Tensor) -> Tensor:
        """Map what the stem returns through the blocks and the transitions between them."""
        x = self.transition1(self.layer1(x))
        x = self.transition2(self.layer2(x))
        return self.layer3(x)


register_family(__name__, CifarDenseNet, VARIANTS, paper="arXiv:1608.06993")
