"""Networks of the papers; importing this package registers them with timm.

>>> import timm
>>> import semaug.networks
>>> network = timm.create_model("resnet32_cifar", num_classes=100)
>>> network.num_features
64
"""

from semaug.networks import (
    cnn13_cifar,
    densenet_cifar,
    imagenet,
    mobilenetv2_cifar,
    pyramidnet_cifar,
    resnet_cifar,
    resnext_cifar,
    se_resnet_cifar,
    shake_shake_cifar,
    wide_resnet_cifar,
)
from semaug.networks.cifar import CifarNetwork
from semaug.networks.cnn13_cifar import CifarCNN13
from semaug.networks.densenet_cifar import CifarDenseNet
from semaug.networks.mobilenetv2_cifar import CifarMobileNetV2
from semaug.networks.of_timm import TimmNetwork, network_of_timm, register_networks
from semaug.networks.pyramidnet_cifar import CifarPyramidNet
from semaug.networks.resnet_cifar import CifarResNet
from semaug.networks.resnext_cifar import CifarResNeXt
from semaug.networks.se_resnet_cifar import CifarSEResNet
from semaug.networks.segmentation import (
    SegmentationNetwork,
    TimmSegmentation,
    register_segmentation,
    segmentation_of_timm,
)
from semaug.networks.shake_shake_cifar import CifarShakeShake
from semaug.networks.wide_resnet_cifar import CifarWideResNet
from semaug.registry import networks

__all__ = [
    "NETWORKS",
    "CifarCNN13",
    "CifarDenseNet",
    "CifarMobileNetV2",
    "CifarNetwork",
    "CifarPyramidNet",
    "CifarResNeXt",
    "CifarResNet",
    "CifarSEResNet",
    "CifarShakeShake",
    "CifarWideResNet",
    "SegmentationNetwork",
    "TimmNetwork",
    "TimmSegmentation",
]

# Names for timm.create_model, each with one line for a person who chooses.
NETWORKS: dict[str, str] = {
    name: variant.description
    for family in (
        resnet_cifar,
        se_resnet_cifar,
        wide_resnet_cifar,
        resnext_cifar,
        densenet_cifar,
        shake_shake_cifar,
        pyramidnet_cifar,
        cnn13_cifar,
        mobilenetv2_cifar,
        imagenet,
    )
    for name, variant in family.VARIANTS.items()
}
register_networks(NETWORKS)
register_segmentation()
# Names that are not listed: all backbones of timm, and all its networks.
networks.fallback = lambda name: segmentation_of_timm(name) or network_of_timm(name)
