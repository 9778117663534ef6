"""Shake-Shake networks: two residual branches, mixed at random while training.

A block computes ``shortcut(x) + a * branch1(x) + (1 - a) * branch2(x)`` with a uniform from
[0, 1]; the backward pass takes another such number instead of a. In evaluation mode both
are 1/2. ``shake`` says how often they are drawn:

- ``"image"`` (the default): for each image, Shake-Shake-Image of the source.
- ``"batch"``: once for all images.
- ``"none"``: never, both are 1/2 in training as well (Even-Even of the source).

Depth 26 is four blocks in each of three stages, which widen from ``width`` channels to four
times that. The source trains for 1800 epochs, with a learning rate that falls along a cosine.

The tables of ISDA print 3.0M and 36.4M parameters, where 2.92M and 35.6M do something. What is
more fits a shortcut with weights in every block, of which the blocks that keep their
shape make no use: 2,989,018 and 36,435,418. Those are left out here. Their 426.69 million and
5.13 billion operations are of convolutions and the classifier alone, and fit exactly.

Source: Gastaldi, 2017, https://arxiv.org/abs/1705.07485
"""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semaug._torch.checks import check_one_of, check_positive_int
from semaug.networks._shake import LEVELS, mix, uniform
from semaug.networks.cifar import CifarNetwork, Variant, conv_norm, register_family

VARIANTS = {
    "shake_shake26_2x32d_cifar": Variant(
        "Shake-Shake of two branches of 32 channels, 2.9M parameters", {"width": 32}
    ),
    "shake_shake26_2x96d_cifar": Variant(
        "Shake-Shake of two branches of 96 channels, 26.2M parameters", {"width": 96}
    ),
    "shake_shake26_2x112d_cifar": Variant(
        "Shake-Shake of two branches of 112 channels, 35.6M parameters", {"width": 112}
    ),
}


class ShiftedShortcut(nn.Module):
    """Every ``stride``-th pixel, and its neighbour up left, each through a 1x1 convolution."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.conv1 = nn.Conv2d(in_channels, out_channels // 2, 1, bias=False)
        self.conv2 = nn.Conv2d(in_channels, out_channels - out_channels // 2, 1, bias=False)
        self.bn = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C_in, H, W) to (N, C_out, ceil(H / stride), ceil(W / stride))."""
        shifted = F.pad(x, (1, -1, 1, -1))  # right and down by one pixel
        step = self.stride
        halves = self.conv1(x[:, :, ::step, ::step]), self.conv2(shifted[:, :, ::step, ::step])
        return self.bn(torch.cat(halves, dim=1))


class ShakeShakeBlock(nn.Module):
    """Two branches of two 3x3 convolutions, mixed, and a shortcut around them."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, shake: str) -> None:
        super().__init__()
        self.shake = shake
        self.act = nn.ReLU()
        self.branch1 = _branch(in_channels, out_channels, stride)
        self.branch2 = _branch(in_channels, out_channels, stride)
        self.shortcut = (
            None
            if in_channels == out_channels and stride == 1
            else ShiftedShortcut(in_channels, out_channels, stride)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C_in, H, W) to (N, C_out, ceil(H / stride), ceil(W / stride))."""
        active = self.act(x)  # all but an empty shortcut begin with it
        first, second = self.branch1(active), self.branch2(active)
        if self.training and self.shake in LEVELS:
            residual = mix(first, second, *uniform(first, self.shake, 2))
        else:
            residual = torch.lerp(first, second, 0.5)
        return residual + (x if self.shortcut is None else self.shortcut(active))


def _branch(in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        *conv_norm(in_channels, out_channels, 3, stride),
        nn.ReLU(inplace=True),
        *conv_norm(out_channels, out_channels, 3),
    )


class CifarShakeShake(CifarNetwork):
    """Shake-Shake network of depth ``6 * blocks_per_stage + 2``, with the methods timm expects.

    Random numbers come from torch's generator of the device.

    Args:
        width: Channels of the first stage; the second has twice as many, the third four times.
        blocks_per_stage: 4 gives depth 26.
        num_classes: Outputs of the classifier; 0 leaves the features.
        in_chans: Channels of the images.
        global_pool: Pooling of timm before the classifier; ``""`` leaves feature maps.
        drop_rate: Dropout before the classifier.
        shake: ``"image"``, ``"batch"`` or ``"none"``, see the top of this file.

    Raises:
        TypeError: If a size is not an int.
        ValueError: If a size is below 1, or ``shake`` unknown.
    """

    def __init__(
        self,
        width: int,
        blocks_per_stage: int = 4,
        num_classes: int = 10,
        in_chans: int = 3,
        global_pool: str = "avg",
        drop_rate: float = 0.0,
        shake: str = "image",
    ) -> None:
        super().__init__()
        check_positive_int(
            "CifarShakeShake", width=width, blocks_per_stage=blocks_per_stage, in_chans=in_chans
        )
        check_one_of("CifarShakeShake", "shake", shake, (*LEVELS, "none"))
        channels = (16, width, 2 * width, 4 * width)
        self.make_stem(in_chans, channels[0])
        self.make_stages(partial(ShakeShakeBlock, shake=shake), blocks_per_stage, channels)
        self.finish(
            dict(zip(("bn1", "layer1", "layer2", "layer3"), channels, strict=True)),
            num_classes,
            global_pool,
            drop_rate,
            act=nn.ReLU(),  # not in place: whoever hooks the last stage wants its own output
            zero_bias=True,
        )


register_family(__name__, CifarShakeShake, VARIANTS, paper="arXiv:1705.07485")
