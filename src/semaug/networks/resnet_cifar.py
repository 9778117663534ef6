"""ResNets for small images (CIFAR): a 3x3 stem and three stages of 16, 32 and 64 channels.

A network of depth ``6n + 2`` has ``n`` blocks of two 3x3 convolutions in each stage;
the second and third stage begin by halving height and width. The shortcut of those two
blocks is one of:

- ``"projection"`` (the default): 1x1 convolution of stride 2 and batch norm, option B of
  the source. The networks behind the tables of ISDA have it: only so does ResNet-32 cost
  their 69.43 million operations, and ResNet-110 their 254.20 million.
- ``"pad"``: every second pixel, and zeros for the new channels, option A of the source.
  It has no parameters.

Source: He et al., CVPR 2016, section 4.2, https://arxiv.org/abs/1512.03385
"""

from functools import partial
from typing import Any

import torch.nn.functional as F
from timm.layers import SelectAdaptivePool2d, create_classifier
from timm.models import (
    build_model_with_cfg,
    checkpoint_seq,
    generate_default_cfgs,
    register_model,
)
from torch import Tensor, nn

from semaug._checks import check_one_of, check_positive_int

__all__ = ["CifarResNet"]

DESCRIPTIONS = {
    "resnet8_cifar": "one block a stage, 0.08M parameters; for digits and quick looks",
    "resnet20_cifar": "three blocks a stage, 0.27M parameters",
    "resnet32_cifar": "five blocks a stage, 0.47M parameters; the small network of the papers",
    "resnet44_cifar": "seven blocks a stage, 0.66M parameters",
    "resnet56_cifar": "nine blocks a stage, 0.86M parameters",
    "resnet110_cifar": "eighteen blocks a stage, 1.73M parameters; the deep one of the papers",
}

_CHANNELS = (16, 32, 64)
_SHORTCUTS = ("projection", "pad")


def _default_cfg() -> dict[str, Any]:
    return {
        "input_size": (3, 32, 32),
        "min_input_size": (3, 8, 8),
        "pool_size": (8, 8),
        "num_classes": 10,
        "crop_pct": 1.0,
        "interpolation": "bilinear",
        "mean": (0.4914, 0.4822, 0.4465),
        "std": (0.2470, 0.2435, 0.2616),
        "first_conv": "conv1",
        "classifier": "fc",
        "license": "mit",
        "paper_ids": "arXiv:1512.03385",
    }


default_cfgs = generate_default_cfgs({name: _default_cfg() for name in DESCRIPTIONS})


class PadShortcut(nn.Module):
    """Every second pixel, and zero for the channels that the input does not have."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.num_new = out_channels - in_channels

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C + new, ceil(H / 2), ceil(W / 2))."""
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, self.num_new))


def _shortcut(kind: str, in_channels: int, out_channels: int, stride: int) -> nn.Module:
    if stride == 1:
        return nn.Identity()
    if kind == "pad":
        return PadShortcut(in_channels, out_channels)
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels)
    )


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut around them."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, shortcut: str) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.act1 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.shortcut = _shortcut(shortcut, in_channels, out_channels, stride)
        self.act2 = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C_in, H, W) to (N, C_out, ceil(H / stride), ceil(W / stride))."""
        residual = self.act1(self.bn1(self.conv1(x)))
        residual = self.bn2(self.conv2(residual))
        return self.act2(residual + self.shortcut(x))


class CifarResNet(nn.Module):
    """ResNet of depth ``6 * blocks_per_stage + 2``, with the methods timm expects.

    Args:
        blocks_per_stage: n of the source; 5 gives ResNet-32.
        num_classes: Outputs of the classifier; 0 leaves the features.
        in_chans: Channels of the images.
        global_pool: Pooling of timm before the classifier; ``""`` leaves feature maps.
        drop_rate: Dropout before the classifier.
        shortcut: ``"projection"`` or ``"pad"``, see the top of this file.

    Raises:
        TypeError: If a size is not an int.
        ValueError: If ``blocks_per_stage`` or ``in_chans`` is below 1, or ``shortcut`` unknown.
    """

    global_pool: SelectAdaptivePool2d

    def __init__(
        self,
        blocks_per_stage: int,
        num_classes: int = 10,
        in_chans: int = 3,
        global_pool: str = "avg",
        drop_rate: float = 0.0,
        shortcut: str = "projection",
    ) -> None:
        super().__init__()
        check_positive_int("CifarResNet", blocks_per_stage=blocks_per_stage, in_chans=in_chans)
        check_one_of("CifarResNet", "shortcut", shortcut, _SHORTCUTS)
        self.num_classes = num_classes
        self.in_chans = in_chans
        self.num_features = _CHANNELS[-1]
        self.grad_checkpointing = False

        self.conv1 = nn.Conv2d(in_chans, _CHANNELS[0], 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(_CHANNELS[0])
        self.act1 = nn.ReLU(inplace=True)
        stage = partial(_stage, blocks_per_stage, shortcut)
        self.layer1 = stage(_CHANNELS[0], _CHANNELS[0], stride=1)
        self.layer2 = stage(_CHANNELS[0], _CHANNELS[1], stride=2)
        self.layer3 = stage(_CHANNELS[1], _CHANNELS[2], stride=2)
        self.feature_info = [
            {"num_chs": channels, "reduction": reduction, "module": module}
            for channels, reduction, module in (
                (16, 1, "act1"),
                (16, 1, "layer1"),
                (32, 2, "layer2"),
                (64, 4, "layer3"),
            )
        ]
        self.head_drop = nn.Dropout(drop_rate)
        self.reset_classifier(num_classes, global_pool)
        self.init_weights()

    def init_weights(self) -> None:
        """Draw each convolution from a normal of variance 2 / fan-out, as the source does."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def group_matcher(self, coarse: bool = False) -> dict[str, str]:
        """Patterns that sort parameters into groups by depth, for timm's layer decay."""
        return {"stem": r"^conv1|^bn1", "blocks": r"^layer(\d+)" + ("" if coarse else r"\.(\d+)")}

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Trade time for memory: keep only the input of each block for the backward pass."""
        self.grad_checkpointing = enable

    def get_classifier(self) -> nn.Module:
        """Return the last layer, an ``nn.Linear`` unless ``num_classes`` is 0."""
        return self.fc

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Replace the last layer by a fresh one; ``global_pool=None`` keeps the pooling."""
        if global_pool is None:
            global_pool = self.global_pool.pool_type
        self.num_classes = num_classes
        self.global_pool, self.fc = create_classifier(
            self.num_features, num_classes, pool_type=global_pool
        )
        self.head_hidden_size = self.num_features * self.global_pool.feat_mult()
        self.fc.to(self.conv1.weight)  # device and dtype
        self.fc.train(self.training)

    def forward_features(self, x: Tensor) -> Tensor:
        """Map images (N, in_chans, H, W) to feature maps (N, 64, H / 4, W / 4)."""
        x = self.act1(self.bn1(self.conv1(x)))
        stages = [self.layer1, self.layer2, self.layer3]
        if self.grad_checkpointing and self.training:
            return checkpoint_seq(stages, x, flatten=True)
        for stage in stages:
            x = stage(x)
        return x

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Map feature maps to logits (N, num_classes), or to features (N, 64)."""
        x = self.head_drop(self.global_pool(x))
        return x if pre_logits else self.fc(x)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, in_chans, H, W) to logits (N, num_classes)."""
        return self.forward_head(self.forward_features(x))


def _stage(
    num_blocks: int, shortcut: str, in_channels: int, out_channels: int, stride: int
) -> nn.Sequential:
    first = BasicBlock(in_channels, out_channels, stride, shortcut)
    rest = [BasicBlock(out_channels, out_channels, 1, shortcut) for _ in range(num_blocks - 1)]
    return nn.Sequential(first, *rest)


def _create(name: str, depth: int, pretrained: bool, **kwargs: Any) -> nn.Module:
    return build_model_with_cfg(
        CifarResNet,
        name,
        pretrained,
        feature_cfg={"out_indices": (0, 1, 2, 3)},
        blocks_per_stage=(depth - 2) // 6,
        **kwargs,
    )


@register_model
def resnet8_cifar(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """ResNet-8: one block a stage, for digits."""
    return _create("resnet8_cifar", 8, pretrained, **kwargs)


@register_model
def resnet20_cifar(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """ResNet-20: three blocks a stage."""
    return _create("resnet20_cifar", 20, pretrained, **kwargs)


@register_model
def resnet32_cifar(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """ResNet-32: five blocks a stage."""
    return _create("resnet32_cifar", 32, pretrained, **kwargs)


@register_model
def resnet44_cifar(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """ResNet-44: seven blocks a stage."""
    return _create("resnet44_cifar", 44, pretrained, **kwargs)


@register_model
def resnet56_cifar(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """ResNet-56: nine blocks a stage."""
    return _create("resnet56_cifar", 56, pretrained, **kwargs)


@register_model
def resnet110_cifar(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """ResNet-110: eighteen blocks a stage."""
    return _create("resnet110_cifar", 110, pretrained, **kwargs)
