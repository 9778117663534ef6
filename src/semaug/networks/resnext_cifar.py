"""ResNeXts for small images: blocks of parallel paths, as one convolution of many groups.

A network of depth ``9n + 2`` has n blocks in each of three stages of 256, 512 and 1024
channels, after a 3x3 convolution to 64. A block has a 1x1 convolution, a 3x3 convolution of
``cardinality`` groups and a 1x1 convolution. A group has ``base_width`` channels in the first
stage, and twice as many in each next one. The first block of a stage adds its input through a
1x1 convolution and batch norm; the second and third stage halve height and width.

Convolutions start from a normal of variance 2 / fan-out, the fan-out counted over all groups,
and the bias of the classifier at 0, as in the code of the source.

Source: Xie et al., CVPR 2017, section 5.3, https://arxiv.org/abs/1611.05431
"""

from functools import partial

from torch import Tensor, nn

from semaug._torch.checks import check_positive_int
from semaug.networks.cifar import (
    CifarNetwork,
    Variant,
    conv_norm,
    projection,
    register_family,
)

VARIANTS = {
    "resnext29_8x64d_cifar": Variant(
        "three blocks a stage of 8 groups, 34.4M parameters; the one of the papers",
        {"blocks_per_stage": 3, "cardinality": 8, "base_width": 64},
    ),
    "resnext29_16x64d_cifar": Variant(
        "three blocks a stage of 16 groups, 68.2M parameters",
        {"blocks_per_stage": 3, "cardinality": 16, "base_width": 64},
    ),
}

_CHANNELS = (64, 256, 512, 1024)  # of the stem and of the stages


class GroupedBottleneck(nn.Module):
    """A 1x1, a grouped 3x3 and a 1x1 convolution, and a shortcut around them.

    Args:
        in_channels: Of the input.
        out_channels: Of the output.
        stride: Of the grouped convolution.
        cardinality: Its groups.
        base_width: Channels of one group where the block has 256.
    """

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, cardinality: int, base_width: int
    ) -> None:
        super().__init__()
        width = cardinality * base_width * out_channels // _CHANNELS[1]
        self.conv1, self.bn1 = conv_norm(in_channels, width, 1)
        self.act1 = nn.ReLU(inplace=True)
        self.conv2, self.bn2 = conv_norm(width, width, 3, stride, groups=cardinality)
        self.act2 = nn.ReLU(inplace=True)
        self.conv3, self.bn3 = conv_norm(width, out_channels, 1)
        self.shortcut = projection(in_channels, out_channels, stride)
        self.act3 = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C_in, H, W) to (N, C_out, ceil(H / stride), ceil(W / stride))."""
        residual = self.act1(self.bn1(self.conv1(x)))
        residual = self.act2(self.bn2(self.conv2(residual)))
        residual = self.bn3(self.conv3(residual))
        return self.act3(residual + self.shortcut(x))


class CifarResNeXt(CifarNetwork):
    """ResNeXt of depth ``9 * blocks_per_stage + 2``, with the methods timm expects.

    Args:
        blocks_per_stage: 3 gives depth 29.
        cardinality: Groups of each 3x3 convolution.
        base_width: Channels of one group in the first stage.
        num_classes: Outputs of the classifier; 0 leaves the features.
        in_chans: Channels of the images.
        global_pool: Pooling of timm before the classifier; ``""`` leaves feature maps.
        drop_rate: Dropout before the classifier.

    Raises:
        TypeError: If a size is not an int.
        ValueError: If a size is below 1, or the rate outside of 0 to 1.
    """

    def __init__(
        self,
        blocks_per_stage: int,
        cardinality: int,
        base_width: int,
        num_classes: int = 10,
        in_chans: int = 3,
        global_pool: str = "avg",
        drop_rate: float = 0.0,
    ) -> None:
        super().__init__()
        check_positive_int(
            "CifarResNeXt",
            blocks_per_stage=blocks_per_stage,
            cardinality=cardinality,
            base_width=base_width,
            in_chans=in_chans,
        )
        self.make_stem(in_chans, _CHANNELS[0], act=nn.ReLU(inplace=True))
        block = partial(GroupedBottleneck, cardinality=cardinality, base_width=base_width)
        self.make_stages(block, blocks_per_stage, _CHANNELS)
        maps = dict(zip(("act1", "layer1", "layer2", "layer3"), _CHANNELS, strict=True))
        self.finish(maps, num_classes, global_pool, drop_rate, zero_bias=True)


register_family(__name__, CifarResNeXt, VARIANTS, paper="arXiv:1611.05431")
