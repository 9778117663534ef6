"""PSPNet and DeepLab-v3 on any backbone of timm, as in the toolbox that the paper of ISDA used.

A backbone keeps height and width from an output stride of 8 on, by dilation. Its last feature map
(N, B, h, w) goes into the head, that of the stage before into an auxiliary head; each ends with
features (N, A, h, w), A = B / 4, and a 1x1 convolution as classifier:

    PSPNet      averages over 1, 2 x 2, 3 x 3 and 6 x 6 cells, each 1x1 to A and interpolated,
                beside the map itself; then 3x3 to A
    DeepLab-v3  the average of the map, 1x1, and 3x3 dilated by 12, 24 and 36, each to A / 2; then
                1x1 to A
    auxiliary   3x3 to A

Each convolution but classifiers is followed by batch norm and leaky ReLU of slope 0.01; that of the
auxiliary head has a bias. A ``Dropout2d`` of 0.1 stands before each classifier. With
``pspnet_resnet101`` B = 2048 and A = 512; its backbone is ``resnet101s`` of timm, whose stem
is three 3x3 convolutions of 64, 64 and 128 channels, and it differs from timm: in stages 3 and 4
every block is dilated by 2 and by 4, the first one too, and the first pooling rounds sizes up.

Networks of these names are timm's too: ``timm.create_model("pspnet_resnet18", num_classes=11)``.

Sources: Zhao et al., CVPR 2017, https://arxiv.org/abs/1612.01105; Chen et al., 2017,
https://arxiv.org/abs/1706.05587; sizes and order as in speedinghzl/pytorch-segmentation-toolbox,
commit 3f8f602, which T-PAMI section 6.4 cites.
"""

import sys
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, Literal, NamedTuple

import timm
import torch
import torch.nn.functional as F
from timm.models import register_model
from timm.models.resnet import ResNet
from torch import Tensor, nn

from semaug.errors import as_user_error, check_option
from semaug.networks.of_timm import TimmNetwork
from semaug.registry import Sizes, networks

__all__ = [
    "PixelHead",
    "PixelOutput",
    "SegmentationNetwork",
    "TimmSegmentation",
    "build_segmentation_network",
    "register_segmentation",
    "segmentation_of_timm",
]

# N images, C classes, B channels of the backbone, A features, h x w pixels of feature maps.

_DROP_RATE = 0.1


class PixelOutput(NamedTuple):
    """What a head makes of a feature map."""

    logits: Tensor  # (N, C, h, w)
    features: Tensor  # (N, A, h, w), that the classifier received
    undropped: Tensor  # the same before dropout


class PixelHead(nn.Module):
    """A body that makes features, dropout of whole channels, and a 1x1 classifier.

    Args:
        body: Maps ``(N, B, h, w)`` to ``(N, A, h, w)``.
        num_features: A.
        num_classes: C.
    """

    def __init__(self, body: nn.Module, num_features: int, num_classes: int) -> None:
        super().__init__()
        self.body = body
        self.dropout = nn.Dropout2d(_DROP_RATE)
        self.classifier = nn.Conv2d(num_features, num_classes, 1)

    @property
    def weight(self) -> Tensor:
        """``(C, A)`` of the classifier."""
        return self.classifier.weight.flatten(1)

    def forward(self, maps: Tensor) -> PixelOutput:
        """Map ``(N, B, h, w)`` to logits and features."""
        undropped = self.body(maps)
        features = self.dropout(undropped)
        return PixelOutput(self.classifier(features), features, undropped)


class SegmentationNetwork(nn.Module):
    """A backbone and a head, with an auxiliary head or without.

    Args:
        backbone: Of timm, with ``forward_intermediates``.
        head: Of its last feature map.
        auxiliary: Of the map before it; None for none.

    Attributes:
        align_corners: How logits are to be interpolated.
    """

    align_corners: bool = True

    def __init__(self, backbone: nn.Module, head: PixelHead, auxiliary: PixelHead | None) -> None:
        super().__init__()
        self.backbone, self.head, self.auxiliary = backbone, head, auxiliary
        self.num_classes, self.num_features = head.classifier.weight.shape[:2]
        self.pretrained_cfg = getattr(backbone, "pretrained_cfg", None)

    def get_classifier(self) -> tuple[nn.Module, ...]:
        """Return the classifiers, that of the head first."""
        return tuple(head.classifier for head in self.get_heads())

    def get_heads(self) -> tuple[PixelHead, ...]:
        """Return all that pretrained weights of a backbone do not have, the main head first."""
        return (self.head,) if self.auxiliary is None else (self.head, self.auxiliary)

    def forward_heads(self, images: Tensor) -> tuple[PixelOutput, ...]:
        """Map images ``(N, 3, H, W)`` to the output of each head, the main one first."""
        middle, last = self._maps(images)
        outputs = self.head(last)
        return (outputs,) if self.auxiliary is None else (outputs, self.auxiliary(middle))

    def forward(self, images: Tensor) -> Tensor:
        """Map images ``(N, 3, H, W)`` to logits ``(N, C, h, w)``."""
        logits: Tensor = self.head(self._maps(images)[1]).logits
        return logits

    def _maps(self, images: Tensor) -> tuple[Tensor, Tensor]:
        middle, last = self.backbone.forward_intermediates(  # type: ignore[operator]
            images, indices=2, intermediates_only=True
        )
        return middle, last


class PyramidPooling(nn.Module):
    """The body of PSPNet.

    Args:
        channels: B.
        num_features: A.
        slope: Of the leaky ReLU.
    """

    def __init__(self, channels: int, num_features: int, slope: float) -> None:
        super().__init__()
        self.bins = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool2d(size), *_unit(channels, num_features, slope=slope))
            for size in (1, 2, 3, 6)
        )
        joined = channels + len(self.bins) * num_features
        self.fuse = nn.Sequential(*_unit(joined, num_features, 3, slope=slope))

    def forward(self, maps: Tensor) -> Tensor:
        """Map ``(N, B, h, w)`` to ``(N, A, h, w)``."""
        averages = [_resized(one(maps), maps) for one in self.bins]
        fused: Tensor = self.fuse(torch.cat([*averages, maps], dim=1))
        return fused


class AtrousPooling(nn.Module):
    """The body of DeepLab-v3: atrous spatial pyramid pooling.

    Args:
        channels: B.
        num_features: A.
        slope: Of the leaky ReLU.
        rates: Dilations of the 3x3 convolutions.
    """

    def __init__(
        self, channels: int, num_features: int, slope: float, rates: tuple[int, ...]
    ) -> None:
        super().__init__()
        half = num_features // 2
        pool = nn.AdaptiveAvgPool2d(1)
        self.branches = nn.ModuleList(
            [
                nn.Sequential(pool, *_unit(channels, half, slope=slope)),
                nn.Sequential(*_unit(channels, half, slope=slope)),
                *(nn.Sequential(*_unit(channels, half, 3, rate, slope=slope)) for rate in rates),
            ]
        )
        joined = len(self.branches) * half
        self.fuse = nn.Sequential(*_unit(joined, num_features, slope=slope))

    def forward(self, maps: Tensor) -> Tensor:
        """Map ``(N, B, h, w)`` to ``(N, A, h, w)``."""
        found = torch.cat([_resized(one(maps), maps) for one in self.branches], dim=1)
        fused: Tensor = self.fuse(found)
        return fused


def _unit(
    channels: int,
    num_features: int,
    kernel_size: int = 1,
    dilation: int = 1,
    *,
    slope: float,
    bias: bool = False,
) -> tuple[nn.Module, ...]:
    """Convolution, batch norm and leaky ReLU."""
    padding = dilation * (kernel_size // 2)
    return (
        nn.Conv2d(
            channels, num_features, kernel_size, padding=padding, dilation=dilation, bias=bias
        ),
        nn.BatchNorm2d(num_features),
        nn.LeakyReLU(slope, inplace=True),
    )


def _resized(maps: Tensor, like: Tensor) -> Tensor:
    if maps.shape[2:] == like.shape[2:]:
        return maps
    return F.interpolate(maps, like.shape[2:], mode="bilinear", align_corners=True)


_RATES = {8: (12, 24, 36), 16: (6, 12, 18)}  # of DeepLab-v3, by output stride
_FAMILIES = {"pspnet": "PSPNet", "deeplabv3": "DeepLab-v3"}
# Whose stem is deep in the toolbox.
_TOOLBOX = {f"resnet{depth}": f"resnet{depth}s" for depth in (50, 101, 152)}
_OF_TIMM = ("pretrained_cfg", "pretrained_cfg_overlay", "cache_dir")  # arguments, all None here


def build_segmentation_network(
    family: Literal["pspnet", "deeplabv3"],
    backbone: str,
    num_classes: int,
    *,
    output_stride: Literal[8, 16] = 8,
    auxiliary: bool = True,
    negative_slope: float = 0.01,
    dilate_first: bool = True,
    ceil_mode: bool = True,
    pretrained: bool = False,
    **kwargs: Any,
) -> SegmentationNetwork:
    """Build a network for images with a label for each pixel.

    Args:
        family: Which head.
        backbone: Name that timm knows.
        num_classes: C.
        output_stride: Pixels of an image for one of its last feature map, along each side.
        auxiliary: Whether there is an auxiliary head, for training.
        negative_slope: Of the leaky ReLU of the heads; 0 is ReLU.
        dilate_first: Whether the first block of a stage of a ResNet is dilated as the others, as
            in the toolbox; timm dilates it as the stage before.
        ceil_mode: Whether the first pooling of a ResNet rounds sizes up.
        pretrained: Whether the backbone begins with weights that timm fetches.
        **kwargs: Of the backbone.

    Raises:
        ValueError: If timm cannot build the backbone with this output stride, or it has no
            ``forward_intermediates``.

    >>> network = build_segmentation_network("pspnet", "test_resnet", num_classes=5)
    >>> network(torch.zeros(2, 3, 65, 97)).shape, network.num_features
    (torch.Size([2, 5, 9, 13]), 24)
    """
    refused = f"{family}: expected a `backbone` that timm builds with output_stride={output_stride}"
    try:
        built: Any = timm.create_model(
            backbone, pretrained, num_classes=0, output_stride=output_stride, **kwargs
        )
    except (NotImplementedError, TypeError) as error:
        if "output_stride" not in str(error):
            raise
        raise ValueError(f"{refused}, got {backbone}: {error}") from error
    if not hasattr(built, "prune_intermediate_layers"):
        raise ValueError(f"{refused} and whose feature maps it shows, got {backbone}")
    if built.feature_info[-1]["reduction"] != output_stride:  # some ignore the option
        raise ValueError(f"{refused}, got {backbone}")
    built.prune_intermediate_layers(2, prune_norm=True, prune_head=True)
    middle, last = (built.feature_info[k]["num_chs"] for k in (-2, -1))
    if isinstance(built, ResNet):
        _as_in_the_toolbox(built, output_stride, dilate_first, ceil_mode)
    num_features = last // 4
    body: nn.Module
    if family == "pspnet":
        body = PyramidPooling(last, num_features, negative_slope)
    else:
        body = AtrousPooling(last, num_features, negative_slope, _RATES[output_stride])
    head = PixelHead(body, num_features, num_classes)
    if not auxiliary:
        return SegmentationNetwork(built, head, None)
    unit = nn.Sequential(*_unit(middle, num_features, 3, slope=negative_slope, bias=True))
    return SegmentationNetwork(built, head, PixelHead(unit, num_features, num_classes))


def _as_in_the_toolbox(
    resnet: Any, output_stride: int, dilate_first: bool, ceil_mode: bool
) -> None:
    if isinstance(resnet.maxpool, nn.MaxPool2d):
        resnet.maxpool.ceil_mode = ceil_mode
    stages = {8: ((resnet.layer3, 2), (resnet.layer4, 4)), 16: ((resnet.layer4, 2),)}
    for stage, dilation in stages[output_stride] if dilate_first else ():
        for module in stage.modules():
            if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3):
                module.dilation = module.padding = (dilation, dilation)


@dataclass(frozen=True, kw_only=True)
class TimmSegmentation(TimmNetwork):
    """PSPNet or DeepLab-v3 on a backbone of timm.

    Weights, ``freeze=backbone`` and ``norm_eval`` are of the backbone: heads begin at random and
    train as always.

    Args:
        backbone: Another backbone than the name says, as timm calls it, such as ``resnet101``
            with its usual stem.
        output_stride: Pixels of an image for one of its last feature map, along each side.
        auxiliary: Whether there is an auxiliary head, for training.
        negative_slope: Of the leaky ReLU of the heads; 0 is ReLU.
        dilate_first: Whether the first block of a stage of a ResNet is dilated as the others, as in
            the toolbox.
        ceil_mode: Whether the first pooling of a ResNet rounds sizes up, as in the toolbox.

    Raises:
        UserError: If a number is out of range.
    """

    backbone: str | None = None
    output_stride: Literal[8, 16] = 8
    auxiliary: bool = True
    negative_slope: float = 0.01
    dilate_first: bool = True
    ceil_mode: bool = True

    family: ClassVar[Any]

    def __post_init__(self) -> None:
        super().__post_init__()
        check_option("passes", self.passes, not self.passes, "none with a label for each pixel")
        inside = 0 <= self.negative_slope < 1
        check_option("negative_slope", self.negative_slope, inside, "from 0 to below 1")
        if self.backbone is not None:
            known = timm.is_model(self.backbone)
            check_option("backbone", self.backbone, known, "a name that timm knows")

    @property
    def source(self) -> str:
        """Name by which timm knows the weights that the network begins with."""
        return self.backbone or _backbone_of(self.model)

    @property
    def passes_kept(self) -> int:
        """None, for features of pixels are too many to be kept."""
        return 0

    def pretrained_part(self, network: nn.Module) -> nn.Module:
        """Return the backbone."""
        return network.backbone  # type: ignore[return-value]

    def arguments(self, sizes: Sizes) -> dict[str, Any]:
        """Return what ``timm.create_model`` takes behind the name."""
        changed = {name: getattr(self, name) for name in _OPTIONS}
        return super().arguments(sizes) | {"backbone": self.source} | changed

    def _create(self, sizes: Sizes, **options: Any) -> nn.Module:
        with as_user_error(f"recipe: network={self.model}: ", ValueError):
            return super()._create(sizes, **options)


_OPTIONS = ("output_stride", "auxiliary", "negative_slope", "dilate_first", "ceil_mode")


def _backbone_of(name: str) -> str:
    backbone = name.partition("_")[2]
    return _TOOLBOX.get(backbone, backbone)


@cache
def segmentation_of_timm(name: str) -> type[TimmSegmentation] | None:
    """Return the spec class of a name such as ``pspnet_resnet18``; None if there is none.

    Networks of this name are timm's from then on.
    """
    family = name.partition("_")[0]
    if family not in _FAMILIES or not timm.is_model(_backbone_of(name)):
        return None
    _register_with_timm(name, family)
    described = f"{_FAMILIES[family]} on {_backbone_of(name)} of timm, for a label for each pixel."
    members = {"model": name, "family": family, "__doc__": described}
    return type(name, (TimmSegmentation,), members)


def _register_with_timm(name: str, family: Any) -> None:
    def create(pretrained: bool = False, backbone: str | None = None, **kwargs: Any) -> nn.Module:
        own = {key: value for key, value in kwargs.items() if key not in _OF_TIMM}
        source = backbone or _backbone_of(name)
        return build_segmentation_network(family, source, pretrained=pretrained, **own)

    create.__name__ = create.__qualname__ = name
    vars(sys.modules[__name__])[name] = create
    register_model(create)


def register_segmentation() -> None:
    """Register the networks that are listed; all other backbones are found by their names."""
    for family in _FAMILIES:
        for backbone in ("resnet18", "resnet34", "resnet50", "resnet101", "tf_efficientnet_lite0"):
            kind = segmentation_of_timm(name := f"{family}_{backbone}")
            assert kind is not None, name
            networks.register(name)(kind)
