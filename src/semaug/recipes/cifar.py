"""CIFAR-10 and CIFAR-100: every network and every heavier augmentation of the ISDA papers.

A name is made of parts, ``DATA_NETWORK[_AUGMENTATION]``; the name of its twin ends in ``_isda``:

>>> from semaug.recipes import find_recipe
>>> recipe = find_recipe("cifar100_wide_resnet28_10_cutout_isda,covariance=diagonal")
>>> recipe.network.block_drop_rate, recipe.augment.cutout, recipe.loss.covariance
(0.3, 8, 'diagonal')

Run:     semaug compare NAME NAME_isda --seeds 5
Result:  see results/README.md
Smoke:   semaug train NAME --quick
Source:  arXiv:2007.10538, Table 9 for the settings, Tables 2 and 4 for the rows;
         arXiv:1909.12220, Tables 1 and 2; what they leave open is in docs/recipes.md
"""

from dataclasses import replace
from typing import Any

from semaug.augmentation import Augment
from semaug.engine.optimizers import SGD
from semaug.engine.schedules import Cosine, Step
from semaug.recipe import Recipe
from semaug.recipes.row import CIFAR, Row, describe, percent_of_epochs
from semaug.registry import networks

__all__ = ["TABLE_2", "TABLE_4"]


def _settings(
    network: str,
    epochs: int,
    *milestones: int,
    batch_size: int = 128,
    lr: float = 0.1,
    lr_factor: float = 0.1,
    weight_decay: float = 1e-4,
    **options: Any,
) -> Recipe:
    """Return a line of Table 9: epochs in which the rate falls; without any it is a cosine."""
    percent = percent_of_epochs(epochs, *milestones)
    return Recipe(
        data="cifar10",
        network=networks.make(f"{network}_cifar", **options),
        epochs=epochs,
        batch_size=batch_size,
        optimizer=SGD(lr=lr, momentum=0.9, nesterov=True, weight_decay=weight_decay),
        schedule=Step(milestones_percent=percent, lr_factor=lr_factor) if percent else Cosine(),
        augment=Augment(padding=4, flip=True),
    )


_WIDE: dict[str, Any] = {"lr_factor": 0.2, "weight_decay": 5e-4}

# Both CIFARs have the same settings. By name: what a person reads, and the line of Table 9.
_NETWORKS: dict[str, tuple[str, Recipe]] = {
    "resnet32": ("ResNet-32", _settings("resnet32", 160, 80, 120)),
    "resnet110": ("ResNet-110", _settings("resnet110", 160, 80, 120)),
    "se_resnet110": ("SE-ResNet-110", _settings("se_resnet110", 200, 80, 120, 160)),
    "wide_resnet16_8": (
        "Wide-ResNet-16-8",
        _settings("wide_resnet16_8", 240, 60, 120, 160, 200, **_WIDE),
    ),
    "wide_resnet28_10": (
        "Wide-ResNet-28-10",  # section 6.2.2: all its results are with dropout; rate of Appendix C
        _settings("wide_resnet28_10", 240, 60, 120, 160, 200, **_WIDE, block_drop_rate=0.3),
    ),
    "resnext29_8x64d": (
        "ResNeXt-29, 8x64d,",
        _settings("resnext29_8x64d", 350, 150, 225, 300, lr=0.05, weight_decay=5e-4),
    ),
    "densenet_bc100_12": (
        "DenseNet-BC-100-12",
        _settings("densenet_bc100_12", 300, 150, 200, 250, batch_size=64),
    ),
    "densenet_bc190_40": (
        "DenseNet-BC-190-40",
        _settings("densenet_bc190_40", 300, 150, 200, 250, batch_size=64),
    ),
    "shake_shake26_2x32d": (
        "Shake-Shake (26, 2x32d)",
        _settings("shake_shake26_2x32d", 1800, batch_size=64),
    ),
    "shake_shake26_2x112d": (
        "Shake-Shake (26, 2x112d)",
        _settings("shake_shake26_2x112d", 1800, batch_size=64),
    ),
}

# AutoAugment's paper applies its policy for CIFAR-10 to both, and Cutout with a side of 16 after
# it; the released code of ISDA does so too, with gray around moved images. The papers print no
# numbers of RandAugment: these are torchvision's, and Cutout follows as after AutoAugment.
_RANDAUGMENT = Augment(policy="randaugment", randaugment_ops=2, randaugment_magnitude=9, cutout=16)
_AUTOAUGMENT = Augment(policy="autoaugment_cifar10", fill="gray", cutout=16)

# By name: what a person reads, and the augmentation on CIFAR-10 and on CIFAR-100. Sides of Cutout
# alone are those of its paper.
_AUGMENTATIONS = {
    "cutout": ("Cutout", Augment(cutout=16), Augment(cutout=8)),
    "randaugment": ("RandAugment", _RANDAUGMENT, _RANDAUGMENT),
    "autoaugment": ("AutoAugment", _AUTOAUGMENT, _AUTOAUGMENT),
}

TABLE_2 = {
    f"{data}_{network}": Row(replace(recipe, data=data), describe(label, called, "cross-entropy"))
    for network, (label, recipe) in _NETWORKS.items()
    for data, called in CIFAR.items()
}

TABLE_4 = {
    f"{data}_{network}_{name}": Row(
        replace(_NETWORKS[network][1], data=data, augment=on_10 if data == "cifar10" else on_100),
        describe(_NETWORKS[network][0], called, heavier, "cross-entropy"),
    )
    for data, called in CIFAR.items()
    for network in ("wide_resnet28_10", "shake_shake26_2x32d", "shake_shake26_2x112d")
    for name, (heavier, on_10, on_100) in _AUGMENTATIONS.items()
}
