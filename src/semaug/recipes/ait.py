"""Augmentation invariant training (AIT): the rows of its Table 1.

A name is ``DATA_NETWORK_single``, cross-entropy on one view of each image, or ``DATA_NETWORK_ait``:
AIT on two views of each of half as many images a step, so that as many pass through the network.
The rows of all other tables, and fair baselines, are changes of these:

- ``NAME_ait,ai_weight=0``: the same pairs without the loss of AIT: as many steps and passes
- ``NAME_single,epochs=320``: twice the epochs: as many passes as AIT, about as many steps, and
  twice as many images
- ``NAME_ait_isda``: AIT with ISDA in place of the cross-entropy
- ``NAME_single,method=dml,peers=resnet32_cifar``: two networks, with one view; with
  ``method=multi_ait`` a view for each

The paper's Table 1 compares ``single`` with what is here ``ait``: twice the steps and twice the
passes. What AIT itself gives shows against ``ai_weight=0``, which differs in nothing else. Twice
the epochs are what the same work gives without pairs, at the learning rate of ``single``: since
AIT adds the cross-entropies of two views, its gradient is twice as large.

>>> from semaug.recipes import find_recipe
>>> recipe = find_recipe("cifar100_resnet32_ait,grayscale=0.1,view_augments=rp,rg")
>>> recipe.method.view_augments, recipe.batch_size
(('rp', 'rg'), 64)

Run:     semaug train NAME seed=0; with ai_convention=released ai_target_gradient=false as the
         released code does
Result:  see results/README.md
Smoke:   semaug train NAME --quick
Source:  Chen et al., Augmentation Invariant Training, ICCV Workshops 2019, section 4; what it
         leaves open is in docs/recipes.md
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from semaug.augmentation import Augment
from semaug.engine.optimizers import SGD
from semaug.engine.schedules import Step
from semaug.recipe import Recipe
from semaug.recipes.row import CIFAR, Row, describe, percent_of_epochs

__all__ = ["NETWORKS", "TABLE_1", "invariant"]


def _cifar(network: str, weight_decay: float = 1e-4) -> Recipe:
    """Return the settings of section 4.1, which does not speak of Nesterov's momentum."""
    return Recipe(
        data="cifar100",
        network=f"{network}_cifar",
        epochs=160,
        batch_size=128,
        optimizer=SGD(lr=0.1, momentum=0.9, nesterov=False, weight_decay=weight_decay),
        schedule=Step(milestones_percent=percent_of_epochs(160, 80, 120)),
        augment=Augment(padding=4, flip=True),
    )


def _imagenet(network: str) -> Recipe:
    return replace(
        _cifar("resnet32"),
        data="imagenet",
        network=network,
        epochs=100,
        batch_size=256,
        schedule=Step(milestones_percent=percent_of_epochs(100, 30, 60, 80, 90)),
        augment=Augment(image_size=224, padding=0, flip=True),
        evaluation_batch_size=256,
    )


def invariant(single: Any) -> Any:
    """Return AIT with as many passes a step as a recipe with one view has."""
    return replace(single, method="ait", batch_size=single.batch_size // 2)


# On CIFAR. By name: what a person reads, and the recipe.
NETWORKS: Mapping[str, tuple[str, Recipe]] = {
    "resnet32": ("ResNet-32", _cifar("resnet32")),
    "mobilenetv2_relu": ("MobileNetV2", _cifar("mobilenetv2_relu")),
    "wide_resnet28_10": ("Wide-ResNet-28-10", _cifar("wide_resnet28_10", weight_decay=5e-4)),
}
# The paper has no ISDA; this is that of ResNet-50 in the ISDA papers.
_ISDA_ON_IMAGENET = {"strength": "7.5", "covariance": "diagonal"}


def _rows(name: str, label: str, data: str, single: Recipe, **isda: Any) -> dict[str, Row]:
    """Return the two sides of a line of Table 1."""
    return {
        f"{name}_single": Row(single, describe(label, data, "cross-entropy on one view"), **isda),
        f"{name}_ait": Row(
            invariant(single), describe(label, data, "AIT", "cross-entropy"), **isda
        ),
    }


TABLE_1: dict[str, Row] = {}
for _network, (_label, _recipe) in NETWORKS.items():
    for _data, _called in CIFAR.items():
        _single = replace(_recipe, data=_data)
        TABLE_1 |= _rows(f"{_data}_{_network}", _label, _called, _single)
for _depth in (18, 50):
    _single = _imagenet(f"resnet{_depth}")
    _name = f"imagenet_resnet{_depth}"
    TABLE_1 |= _rows(_name, f"ResNet-{_depth}", "ImageNet", _single, isda=_ISDA_ON_IMAGENET)
