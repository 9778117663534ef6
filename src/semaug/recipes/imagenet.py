"""Recipes on ImageNet: the networks of the T-PAMI paper with cross-entropy and ISDA.

>>> from semaug.recipes import find_recipe
>>> find_recipe("imagenet_resnet101_isda").loss
Loss(name='isda', strength=5.0, ramp='linear', covariance='diagonal', memory=None, num_samples=None)

Run:     torchrun --nproc-per-node 8 -m semaug train NAME seed=0
Result:  see results/README.md
Smoke:   semaug train NAME --quick
Source:  arXiv:2007.10538, Table 1, section 6.1 and Appendix A; what they leave open is in
         docs/recipes.md
"""

from dataclasses import replace
from typing import NamedTuple

from semaug.recipe.recipe import Augment, Loss, Recipe
from semaug.recipes.row import Row, describe

__all__ = ["TABLE_1"]


class _Network(NamedTuple):
    """A line of Table 1."""

    description: str
    strength: float  # lambda_0, printed in Appendix A


_NETWORKS = {
    "resnet50": _Network("ResNet-50", 7.5),
    "resnet101": _Network("ResNet-101", 5.0),
    "resnet152": _Network("ResNet-152", 7.5),
    "densenet121": _Network("DenseNet-BC-121", 1.0),
    "densenet264": _Network("DenseNet-BC-265", 1.0),
    "resnext50_32x4d": _Network("ResNeXt-50, 32x4d,", 7.5),
    "resnext101_32x8d": _Network("ResNeXt-101, 32x8d,", 7.5),
}


def _baseline(network: str) -> Recipe:
    return Recipe(
        data="imagenet",
        network=network,
        epochs=300,
        batch_size=512,
        lr=0.2,
        schedule="cosine",
        momentum=0.9,
        nesterov=True,
        weight_decay=1e-4,
        augment=Augment(image_size=224, padding=0, flip=True),
        evaluation_batch_size=256,
    )


def _rows(network: str) -> dict[str, Row]:
    name, baseline = f"imagenet_{network}", _baseline(network)
    label, strength = _NETWORKS[network]
    isda = Loss("isda", strength=strength, covariance="diagonal", ramp="linear")
    return {
        name: Row(baseline, describe(label, "ImageNet", "cross-entropy")),
        f"{name}_isda": Row(replace(baseline, loss=isda), describe(label, "ImageNet", "ISDA")),
    }


TABLE_1 = {name: row for network in _NETWORKS for name, row in _rows(network).items()}
