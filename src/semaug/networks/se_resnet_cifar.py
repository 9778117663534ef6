"""ResNets for small images whose blocks weigh their channels: squeeze and excitation.

What a block computes is multiplied, channel by channel, by numbers between 0 and 1 made
from its mean over the image:

    s = sigmoid(W2 relu(W1 mean(x)))    W1: C / reduction x C, W2: C x C / reduction

As in equation 3 of the source, W1 and W2 have no bias, and as there reduction is 16, so that
the first stage is squeezed to one number. With the blocks of :mod:`.resnet_cifar` this is
SE-ResNet-110 as it costs 254.73 million operations in the tables of ISDA, where poolings and
ReLUs of the new layers are counted. Biases would cost nothing there, and change 1.743 to
1.745 million parameters, so the tables do not tell whether their network has them. Linear
layers keep torch's initial weights.

Source: Hu et al., CVPR 2018, section 3, https://arxiv.org/abs/1709.01507
"""

from collections import OrderedDict
from functools import partial
from typing import Any

from torch import Tensor, nn

from semaug._torch.checks import check_positive_int
from semaug.networks.cifar import Variant, register_family
from semaug.networks.resnet_cifar import CifarResNet

VARIANTS = {
    "se_resnet20_cifar": Variant(
        "three blocks a stage with squeeze and excitation, 0.27M parameters",
        {"blocks_per_stage": 3},
    ),
    "se_resnet32_cifar": Variant(
        "five blocks a stage with squeeze and excitation, 0.47M parameters",
        {"blocks_per_stage": 5},
    ),
    "se_resnet56_cifar": Variant(
        "nine blocks a stage with squeeze and excitation, 0.86M parameters",
        {"blocks_per_stage": 9},
    ),
    "se_resnet110_cifar": Variant(
        "eighteen blocks a stage with squeeze and excitation, 1.74M parameters; in the papers",
        {"blocks_per_stage": 18},
    ),
}


class SqueezeExcitation(nn.Sequential):
    """Weigh channels by what their means over the image say.

    Args:
        channels: Of the maps.
        reduction: How many times fewer numbers the means are squeezed to.

    Raises:
        TypeError: If a size is not an int.
        ValueError: If a size is below 1, or ``reduction`` above ``channels``.
    """

    def __init__(self, channels: int, reduction: int = 16) -> None:
        check_positive_int("SqueezeExcitation", channels=channels, reduction=reduction)
        if reduction > channels:
            raise ValueError(
                f"SqueezeExcitation: expected `reduction` <= channels = {channels}, got {reduction}"
            )
        squeezed = channels // reduction
        super().__init__(
            OrderedDict(
                pool=nn.AdaptiveAvgPool2d(1),
                flat=nn.Flatten(),
                fc1=nn.Linear(channels, squeezed, bias=False),
                act=nn.ReLU(inplace=True),
                fc2=nn.Linear(squeezed, channels, bias=False),
                gate=nn.Sigmoid(),
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        return x * super().forward(x)[:, :, None, None]


class CifarSEResNet(CifarResNet):
    """:class:`CifarResNet` with squeeze and excitation in each block.

    Args:
        blocks_per_stage: n of depth ``6 * n + 2``.
        reduction: Of :class:`SqueezeExcitation`; at most 16.
        **kwargs: The others of :class:`CifarResNet`.

    Raises:
        TypeError: If a size is not an int.
        ValueError: If a size is below 1, or ``reduction`` above 16.
    """

    def __init__(self, blocks_per_stage: int, reduction: int = 16, **kwargs: Any) -> None:
        attention = partial(SqueezeExcitation, reduction=reduction)
        super().__init__(blocks_per_stage, attention=attention, **kwargs)


register_family(__name__, CifarSEResNet, VARIANTS, paper="arXiv:1709.01507")
