"""MobileNetV2 for small images.

A block widens by a 1x1 convolution, filters each channel by a 3x3 convolution, and narrows by
a 1x1 convolution without activation. One that keeps its shape has a shortcut around it. For
images of 32 x 32 pixels the stem and the second stage keep height and width, which for large
images they halve.

The results of AIT are those of another form, ``released``: ReLU instead of ReLU6, a 1x1
convolution also in the first block, which does not widen, a shortcut by a 1x1 convolution and
batch norm around blocks of stride 1 that change the number of channels, and initial weights as
torch draws them.

Source: Sandler et al., CVPR 2018, Table 2, https://arxiv.org/abs/1801.04381; its use for
CIFAR: Chen et al., "Augmentation Invariant Training", ICCV Workshops 2019, Table 1, and the
released code of that paper
"""

from functools import partial

from timm.layers import make_divisible
from torch import Tensor, nn

from semaug._torch.checks import check_at_least, check_positive_int
from semaug.networks.cifar import (
    CifarNetwork,
    Variant,
    conv_norm,
    make_stage,
    projection,
    register_family,
)

VARIANTS = {
    "mobilenetv2_cifar": Variant(
        "separable convolutions, 2.2M parameters; as its paper has it", {"width": 1.0}
    ),
    "mobilenetv2_relu_cifar": Variant(
        "the form of AIT's released code, 2.3M parameters; the mobile network of AIT",
        {"width": 1.0, "released": True},
    ),
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


class InvertedResidual(nn.Module):
    """Widen, filter, narrow, and a shortcut if the shape stays.

    Args:
        in_channels: Of the input.
        out_channels: Of the output.
        stride: Of the 3x3 convolution.
        expansion: How much wider the inside is; 1 leaves the first convolution out.
        released: Whether it is a block of the released code of AIT.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int,
        expansion: int,
        released: bool = False,
    ) -> None:
        super().__init__()
        inside, act = expansion * in_channels, nn.ReLU if released else nn.ReLU6
        widens = released or expansion > 1
        self.body = nn.Sequential(
            *([*conv_norm(in_channels, inside, 1), act(inplace=True)] if widens else []),
            *conv_norm(inside, inside, 3, stride, groups=inside),
            act(inplace=True),
            *conv_norm(inside, out_channels, 1),
        )
        has_shortcut = stride == 1 and (released or in_channels == out_channels)
        self.shortcut = projection(in_channels, out_channels, 1) if has_shortcut else None

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C_in, H, W) to (N, C_out, ceil(H / stride), ceil(W / stride))."""
        return self.body(x) if self.shortcut is None else self.body(x) + self.shortcut(x)


class CifarMobileNetV2(CifarNetwork):
    """MobileNetV2 with the methods timm expects.

    Args:
        width: Multiplies all channels, which are rounded to multiples of 8; the features
            are never fewer than 1280.
        num_classes: Outputs of the classifier; 0 leaves the features.
        in_chans: Channels of the images.
        global_pool: Pooling of timm before the classifier; ``""`` leaves feature maps.
        drop_rate: Dropout before the classifier.
        released: Whether it is the network of the released code of AIT.

    Raises:
        TypeError: If ``width`` is no number or ``in_chans`` no int.
        ValueError: If ``width`` is below 0.1 or ``in_chans`` below 1.
    """

    num_stages = len(_STAGES)

    def __init__(
        self,
        width: float = 1.0,
        num_classes: int = 10,
        in_chans: int = 3,
        global_pool: str = "avg",
        drop_rate: float = 0.0,
        released: bool = False,
    ) -> None:
        super().__init__()
        check_positive_int("CifarMobileNetV2", in_chans=in_chans)
        check_at_least("CifarMobileNetV2", "width", width, 0.1)
        channels = [make_divisible(width * c) for c in (_STEM_CHANNELS, *(s[1] for s in _STAGES))]
        num_features = make_divisible(_NUM_FEATURES * max(width, 1.0))
        act = nn.ReLU if released else nn.ReLU6
        self.make_stem(in_chans, channels[0], act=act(inplace=True))
        for i, (expansion, _, num_blocks, stride) in enumerate(_STAGES, start=1):
            block = partial(InvertedResidual, expansion=expansion, released=released)
            sizes = channels[i - 1], channels[i], stride
            self.add_module(f"layer{i}", make_stage(block, num_blocks, *sizes))
        # The source says nothing of initial weights; by fan-out they start as in torchvision.
        self.finish(
            {"layer2": channels[2], "layer3": channels[3], "layer5": channels[5]}
            | {"norm": num_features},
            num_classes,
            global_pool,
            drop_rate,
            norm=nn.Sequential(*conv_norm(channels[-1], num_features, 1), act(inplace=True)),
            reductions=(1, 2, 4, 8),
            by_fan_out=not released,
        )


register_family(__name__, CifarMobileNetV2, VARIANTS, paper="arXiv:1801.04381", pool_size=(4, 4))
