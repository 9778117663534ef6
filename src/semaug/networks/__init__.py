"""Networks of the papers; importing this package registers them with timm.

>>> import timm
>>> import semaug.networks
>>> network = timm.create_model("resnet32_cifar", num_classes=100)
>>> network.num_features
64
"""

from semaug.networks import resnet_cifar
from semaug.networks.cifar import CifarNetwork
from semaug.networks.resnet_cifar import CifarResNet

__all__ = ["NETWORKS", "CifarNetwork", "CifarResNet"]

# Names for timm.create_model, each with one line for a person who chooses.
NETWORKS: dict[str, str] = {
    name: variant.description
    for family in (resnet_cifar,)
    for name, variant in family.VARIANTS.items()
}
