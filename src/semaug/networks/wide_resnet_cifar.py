"""Wide ResNets for small images: few blocks of many channels, batch norm and ReLU first.

A network of depth ``6n + 4`` and width k has n blocks of two 3x3 convolutions in each of
three stages of 16k, 32k and 64k channels, after a 3x3 convolution to 16; the depth counts
the convolutions of three shortcuts too. Blocks normalize what they take, and add their input
as it was:

    x + conv2(dropout(relu(bn2(conv1(relu(bn1(x)))))))

The first block of a stage has other channels than its input, and adds a 1x1 convolution of
relu(bn1(x)) instead. The last stage is followed by batch norm and ReLU. Dropout is 0.3 in
the source where it is used, and in all results of ISDA with WRN-28-10.

Convolutions start from a normal of variance 2 / fan-out, the bias of the classifier at 0,
as in the code of the source.

Source: Zagoruyko and Komodakis, BMVC 2016, section 2, https://arxiv.org/abs/1605.07146
"""

from functools import partial

from torch import Tensor, nn

from semaug._torch.checks import check_positive_int
from semaug.networks.cifar import CifarNetwork, Variant, register_family

VARIANTS = {
    "wide_resnet16_8_cifar": Variant(
        "two blocks a stage, 8 times as wide as a ResNet, 11.0M parameters",
        {"blocks_per_stage": 2, "width": 8},
    ),
    "wide_resnet28_10_cifar": Variant(
        "four blocks a stage, 10 times as wide, 36.5M parameters; give it block_drop_rate=0.3",
        {"blocks_per_stage": 4, "width": 10},
    ),
}


class PreActivationBlock(nn.Module):
    """Two 3x3 convolutions, each after batch norm and ReLU, and a shortcut around them."""

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, drop_rate: float = 0.0
    ) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.act1 = nn.ReLU(inplace=True)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.act2 = nn.ReLU(inplace=True)
        self.drop = nn.Dropout(drop_rate)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, 1, 1, bias=False)
        self.shortcut = (
            None
            if stride == 1 and in_channels == out_channels
            else nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C_in, H, W) to (N, C_out, ceil(H / stride), ceil(W / stride))."""
        active = self.act1(self.bn1(x))
        short = x if self.shortcut is None else self.shortcut(active)
        return self.conv2(self.drop(self.act2(self.bn2(self.conv1(active))))) + short


class CifarWideResNet(CifarNetwork):
    """Wide ResNet of depth ``6 * blocks_per_stage + 4``, with the methods timm expects.

    Args:
        blocks_per_stage: n of the source; 4 gives depth 28.
        width: k of the source; how many times the channels of a ResNet.
        num_classes: Outputs of the classifier; 0 leaves the features.
        in_chans: Channels of the images.
        global_pool: Pooling of timm before the classifier; ``""`` leaves feature maps.
        drop_rate: Dropout before the classifier.
        block_drop_rate: Dropout between the two convolutions of each block.

    Raises:
        TypeError: If a size is not an int.
        ValueError: If a size is below 1, or a rate outside of 0 to 1.
    """

    def __init__(
        self,
        blocks_per_stage: int,
        width: int,
        num_classes: int = 10,
        in_chans: int = 3,
        global_pool: str = "avg",
        drop_rate: float = 0.0,
        block_drop_rate: float = 0.0,
    ) -> None:
        super().__init__()
        check_positive_int(
            "CifarWideResNet", blocks_per_stage=blocks_per_stage, width=width, in_chans=in_chans
        )
        channels = (16, 16 * width, 32 * width, 64 * width)
        self.make_stem(in_chans, channels[0], norm=False)
        block = partial(PreActivationBlock, drop_rate=block_drop_rate)
        self.make_stages(block, blocks_per_stage, channels)
        self.finish(
            dict(zip(("conv1", "layer1", "layer2", "act"), channels, strict=True)),
            num_classes,
            global_pool,
            drop_rate,
            norm=nn.BatchNorm2d(channels[-1]),
            act=nn.ReLU(inplace=True),
            zero_bias=True,
        )


register_family(__name__, CifarWideResNet, VARIANTS, paper="arXiv:1605.07146")
