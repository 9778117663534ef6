"""MobileNetV2 for small images.

A block widens by a 1x1 convolution, filters each channel by a 3x3 convolution, and narrows by
a 1x1 convolution without activation. One that keeps its shape has a shortcut around it. For
images of 32 x 32 pixels the stem and the second stage keep height and width, which for large
images they halve.

Source: Sandler et al., CVPR 2018, Table 2, https://arxiv.org/abs/1801.04381; its use for
CIFAR: Chen et al., "Augmentation Invariant Training", ICCV Workshops 2019, Table 1
"""

from collections.abc import Sequence
from functools import partial

from timm.layers import make_divisible
from torch import Tensor, nn

from semaug._torch.checks import check_at_least, check_positive_int
from semaug.networks.cifar import (
    CifarNetwork,
    Variant,
    feature_info,
    init_by_fan_out,
    make_stage,
    register_family,
)

VARIANTS = {
    "mobilenetv2_cifar": Variant(
        "separable convolutions, 2.2M parameters; the mobile network of AIT", {"width": 1.0}
    )
}

# Of each stage: how much its blocks widen inside, channels, blocks, stride of the first.
_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 1),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
_STEM_CHANNELS = 32
_NUM_FEATURES = 1280


def _conv(
    in_channels: int, out_channels: int, size: int, stride: int = 1, groups: int = 1
) -> list[nn.Module]:
    """Make a convolution and its batch norm."""
    conv = nn.Conv2d(in_channels, out_channels, size, stride, size // 2, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(out_channels)]


class InvertedResidual(nn.Module):
    """Widen, filter, narrow, and a shortcut if the shape stays.

    Args:
        in_channels: Of the input.
        out_channels: Of the output.
        stride: Of the 3x3 convolution.
        expansion: How much wider the inside is; 1 leaves the first convolution out.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, expansion: int) -> None:
        super().__init__()
        inside = expansion * in_channels
        widen = [*_conv(in_channels, inside, 1), nn.ReLU6(inplace=True)] if expansion > 1 else []
        self.body = nn.Sequential(
            *widen,
            *_conv(inside, inside, 3, stride, groups=inside),
            nn.ReLU6(inplace=True),
            *_conv(inside, out_channels, 1),
        )
        self.keeps_shape = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C_in, H, W) to (N, C_out, ceil(H / stride), ceil(W / stride))."""
        return x + self.body(x) if self.keeps_shape else self.body(x)


class CifarMobileNetV2(CifarNetwork):
    """MobileNetV2 with the methods timm expects.

    Args:
        width: Multiplies all channels, which are rounded to multiples of 8; the features
            are never fewer than 1280.
        num_classes: Outputs of the classifier; 0 leaves the features.
        in_chans: Channels of the images.
        global_pool: Pooling of timm before the classifier; ``""`` leaves feature maps.
        drop_rate: Dropout before the classifier.

    Raises:
        TypeError: If ``width`` is no number or ``in_chans`` no int.
        ValueError: If ``width`` is below 0.1 or ``in_chans`` below 1.
    """

    def __init__(
        self,
        width: float = 1.0,
        num_classes: int = 10,
        in_chans: int = 3,
        global_pool: str = "avg",
        drop_rate: float = 0.0,
    ) -> None:
        super().__init__()
        check_positive_int("CifarMobileNetV2", in_chans=in_chans)
        check_at_least("CifarMobileNetV2", "width", width, 0.1)
        self.in_chans = in_chans

        channels = [make_divisible(width * c) for c in (_STEM_CHANNELS, *(s[1] for s in _STAGES))]
        num_features = make_divisible(_NUM_FEATURES * max(width, 1.0))
        self.conv1 = nn.Conv2d(in_chans, channels[0], 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels[0])
        self.act1 = nn.ReLU6(inplace=True)
        for i, (expansion, _, num_blocks, stride) in enumerate(_STAGES, start=1):
            block = partial(InvertedResidual, expansion=expansion)
            stage = make_stage(block, num_blocks, channels[i - 1], channels[i], stride)
            self.add_module(f"layer{i}", stage)
        self.norm = nn.Sequential(*_conv(channels[-1], num_features, 1), nn.ReLU6(inplace=True))
        self.feature_info = feature_info(
            (channels[2], 1, "layer2"),
            (channels[3], 2, "layer3"),
            (channels[5], 4, "layer5"),
            (num_features, 8, "norm"),
        )
        self.make_head(num_features, num_classes, global_pool, drop_rate)
        init_by_fan_out(self)  # as torchvision does; the source says nothing

    def forward_stem(self, x: Tensor) -> Tensor:
        """Map images (N, in_chans, H, W) to (N, 32, H, W)."""
        return self.act1(self.bn1(self.conv1(x)))

    def stages(self) -> Sequence[nn.Sequential]:
        """Return the seven stages."""
        return [getattr(self, f"layer{i}") for i in range(1, len(_STAGES) + 1)]

    def forward_norm(self, x: Tensor) -> Tensor:
        """Widen to the features: 1x1 convolution, batch norm and activation."""
        return self.norm(x)


register_family(__name__, CifarMobileNetV2, VARIANTS, paper="arXiv:1801.04381", pool_size=(4, 4))
