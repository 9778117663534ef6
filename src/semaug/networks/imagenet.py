"""Networks for ImageNet that ISDA was tried with: timm's, and the DenseNet that timm lacks.

timm builds them layer by layer as torchvision does, which the code of ISDA uses; these
things differ from the sources:

- Residual networks halve height and width in the 3x3 convolution of a bottleneck; He et al.
  do in the 1x1 before it, at equal size but 6 % fewer multiply-adds for ResNet-50.
- timm starts the last batch norm of each residual block at weight 0, so that blocks begin as
  the identity. Sources and torchvision start it at 1: give ``zero_init_last=False``.
- Convolutions of residual networks start from a normal of variance 2 / fan-out, as in the
  sources; those of DenseNets, in timm and torchvision, of variance 2 / fan-in.

The tables of ISDA print 44.6 and 60.3 million parameters for ResNet-101 and ResNet-152.
These have 44.55 and 60.19, in timm as in torchvision. The printed numbers come out if a bias is
counted for each output of a convolution, which these do not have; the other networks have
what is printed without that.

Sources: He et al., CVPR 2016, Table 1, https://arxiv.org/abs/1512.03385; Huang et al., CVPR
2017, Table 1, https://arxiv.org/abs/1608.06993; Xie et al., CVPR 2017, Table 1,
https://arxiv.org/abs/1611.05431
"""

from typing import Any

from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models.densenet import DenseNet

from semaug.networks.cifar import Variant

# What each name makes is up to timm: there are no arguments to it here.
VARIANTS = {
    "resnet50": Variant("for ImageNet, 25.6M parameters", {}),
    "resnet101": Variant("for ImageNet, 44.5M parameters", {}),
    "resnet152": Variant("for ImageNet, 60.2M parameters", {}),
    "resnext50_32x4d": Variant("for ImageNet, 25.0M parameters", {}),
    "resnext101_32x8d": Variant("for ImageNet, 88.8M parameters", {}),
    "densenet121": Variant("for ImageNet, 8.0M parameters", {}),
    "densenet264": Variant("for ImageNet, 33.3M parameters; DenseNet-BC-265 of the papers", {}),
}

default_cfgs = generate_default_cfgs(
    {
        "densenet264": {
            "input_size": (3, 224, 224),
            "pool_size": (7, 7),
            "num_classes": 1000,
            "crop_pct": 0.875,
            "interpolation": "bicubic",
            "mean": IMAGENET_DEFAULT_MEAN,
            "std": IMAGENET_DEFAULT_STD,
            "first_conv": "features.conv0",
            "classifier": "classifier",
            "license": "apache-2.0",
            "paper_ids": "arXiv:1608.06993",
        }
    }
)


@register_model
def densenet264(pretrained: bool = False, **kwargs: Any) -> DenseNet:
    """Build the DenseNet-BC of 6, 12, 64 and 48 layers, each adding 32 maps.

    It has 265 layers with weights, as its name in the papers of ISDA says; the source calls
    it DenseNet-264.

    Args:
        pretrained: There are no weights to load, so only False works.
        **kwargs: Of timm's ``DenseNet``, such as ``num_classes`` and ``memory_efficient``.

    Raises:
        RuntimeError: If ``pretrained`` is asked for.
    """
    arguments = {"growth_rate": 32, "block_config": (6, 12, 64, 48), **kwargs}
    return build_model_with_cfg(
        DenseNet, "densenet264", pretrained, feature_cfg={"flatten_sequential": True}, **arguments
    )
