"""CNN-13, the network of semi-supervised learning on small images.

    3 x (3x3 convolution, 128 channels)                32 x 32 pixels
    2x2 max-pooling, dropout
    3 x (3x3 convolution, 256)                         16 x 16
    2x2 max-pooling, dropout
    3x3 convolution without padding, 512               6 x 6
    1x1 convolution, 256; 1x1 convolution, 128         6 x 6
    global average pooling, linear classifier

Each convolution is followed by batch norm and leaky ReLU of slope 0.1. Table 10 of the source
lists no batch norm; that of virtual adversarial training, which it names, has it. Weights begin as
in the code of the latter: from a normal of variance 2 / fan-in, cut off at two deviations, the
classifier's too.

Source: Wang et al., T-PAMI 2021, Table 10, https://arxiv.org/abs/2007.10538;
Miyato et al., T-PAMI 2018, https://arxiv.org/abs/1704.03976
"""

from torch import nn

from semaug._torch.checks import check_positive_int
from semaug.networks.cifar import CifarNetwork, Variant, register_family

VARIANTS = {
    "cnn13_cifar": Variant(
        "nine convolutions without shortcuts, 3.1M parameters; for semi-supervised learning",
        {"width": 128},
    ),
    "cnn13_16_cifar": Variant(
        "the same of width 16, 50,000 parameters; for two CPU cores", {"width": 16}
    ),
}

_SLOPE = 0.1


class ConvBlock(nn.Sequential):
    """Convolution, batch norm and leaky ReLU."""

    def __init__(self, in_channels: int, out_channels: int, size: int, padding: int) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, size, 1, padding, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.LeakyReLU(_SLOPE, inplace=True),
        )


class CifarCNN13(CifarNetwork):
    """CNN-13, with the methods timm expects. Images have at least 12 x 12 pixels.

    Args:
        width: Channels of the first convolutions, and length of the features.
        num_classes: Outputs of the classifier; 0 leaves the features.
        in_chans: Channels of the images.
        global_pool: Pooling of timm before the classifier; ``""`` leaves feature maps.
        drop_rate: Dropout before the classifier.
        block_drop_rate: Dropout after the max-poolings.

    Raises:
        TypeError: If a size is not an int.
        ValueError: If a size is below 1, or a rate outside of 0 to 1.
    """

    def __init__(
        self,
        width: int = 128,
        num_classes: int = 10,
        in_chans: int = 3,
        global_pool: str = "avg",
        drop_rate: float = 0.0,
        block_drop_rate: float = 0.5,
    ) -> None:
        super().__init__()
        check_positive_int("CifarCNN13", width=width, in_chans=in_chans)
        self.make_stem(in_chans, width, act=nn.LeakyReLU(_SLOPE, inplace=True))
        self.layer1 = nn.Sequential(ConvBlock(width, width, 3, 1), ConvBlock(width, width, 3, 1))
        self.layer2 = nn.Sequential(
            nn.MaxPool2d(2),
            nn.Dropout(block_drop_rate),
            ConvBlock(width, 2 * width, 3, 1),
            ConvBlock(2 * width, 2 * width, 3, 1),
            ConvBlock(2 * width, 2 * width, 3, 1),
        )
        self.layer3 = nn.Sequential(
            nn.MaxPool2d(2),
            nn.Dropout(block_drop_rate),
            ConvBlock(2 * width, 4 * width, 3, 0),
            ConvBlock(4 * width, 2 * width, 1, 0),
            ConvBlock(2 * width, width, 1, 0),
        )
        maps = {"act1": width, "layer1": width, "layer2": 2 * width, "layer3": width}
        self.finish(maps, num_classes, global_pool, drop_rate, by_fan_out=False)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                deviation = (2 / module.weight[0].numel()) ** 0.5
                nn.init.trunc_normal_(
                    module.weight, std=deviation, a=-2 * deviation, b=2 * deviation
                )


register_family(
    __name__,
    CifarCNN13,
    VARIANTS,
    paper="arXiv:2007.10538",
    min_input_size=(3, 12, 12),
    pool_size=(6, 6),
)
