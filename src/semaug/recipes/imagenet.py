"""ImageNet: every network of T-PAMI Table 1. ISDA has diagonal covariances here.

>>> from semaug.recipes import find_recipe
>>> loss = find_recipe("imagenet_resnet50_isda").loss
>>> loss.strength, loss.covariance
(7.5, 'diagonal')

Run:     torchrun --nproc-per-node 8 -m semaug train NAME_isda seed=0
Result:  see results/README.md
Smoke:   semaug train NAME_isda --quick --data-root ROOT
Source:  arXiv:2007.10538, Table 1, section 6.1 and Appendix A; what they leave open is in
         docs/recipes.md
"""

from semaug.augmentation import Augment
from semaug.engine.optimizers import SGD
from semaug.engine.schedules import Cosine
from semaug.recipe import Recipe
from semaug.recipes.row import Row, describe

__all__ = ["TABLE_1"]

# By name of timm: what a person reads, and lambda_0, which Appendix A prints.
_NETWORKS = {
    "resnet50": ("ResNet-50", 7.5),
    "resnet101": ("ResNet-101", 5.0),
    "resnet152": ("ResNet-152", 7.5),
    "densenet121": ("DenseNet-BC-121", 1.0),
    "densenet264": ("DenseNet-BC-265", 1.0),
    "resnext50_32x4d": ("ResNeXt-50, 32x4d,", 7.5),
    "resnext101_32x8d": ("ResNeXt-101, 32x8d,", 7.5),
}


def _baseline(network: str) -> Recipe:
    return Recipe(
        data="imagenet",
        network=network,
        epochs=300,
        batch_size=512,
        optimizer=SGD(lr=0.2, momentum=0.9, nesterov=True, weight_decay=1e-4),
        schedule=Cosine(),
        augment=Augment(image_size=224, padding=0, flip=True),
        evaluation_batch_size=256,
    )


TABLE_1 = {
    f"imagenet_{network}": Row(
        _baseline(network),
        describe(label, "ImageNet", "cross-entropy"),
        isda={"strength": str(strength), "covariance": "diagonal"},
    )
    for network, (label, strength) in _NETWORKS.items()
}
