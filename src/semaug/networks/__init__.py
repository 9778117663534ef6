"""Networks of the papers; importing this package registers them with timm.

>>> import timm
>>> import semaug.networks
>>> network = timm.create_model("resnet32_cifar", num_classes=100)
>>> network.num_features
64
"""

from semaug.networks import (
    densenet_cifar,
    imagenet,
    resnet_cifar,
    resnext_cifar,
    se_resnet_cifar,
    wide_resnet_cifar,
)
from semaug.networks.cifar import CifarNetwork
from semaug.networks.densenet_cifar import CifarDenseNet
from semaug.networks.resnet_cifar import CifarResNet
from semaug.networks.resnext_cifar import CifarResNeXt
from semaug.networks.se_resnet_cifar import CifarSEResNet
from semaug.networks.wide_resnet_cifar import CifarWideResNet

__all__ = [
    "NETWORKS",
    "CifarDenseNet",
    "CifarNetwork",
    "CifarResNeXt",
    "CifarResNet",
    "CifarSEResNet",
    "CifarWideResNet",
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
        imagenet,
    )
    for name, variant in family.VARIANTS.items()
}
