"""ResNet-20 on 5,000 images of CIFAR-10 with ISDA.

Run:     semaug train cifar10_5k_resnet20_isda seed=0
Result:  see results/README.md
Smoke:   semaug train cifar10_5k_resnet20_isda --quick   (CPU, under a minute)
Source:  arXiv:1909.12220; differs from it in: see cifar10_5k_resnet20
"""

from dataclasses import replace

from semaug.recipes import Loss, Recipe
from semaug.recipes.cifar10_5k_resnet20 import recipe as baseline

__all__ = ["recipe"]


def recipe() -> Recipe:
    """Return the recipe."""
    return replace(baseline(), loss=Loss("isda", strength=0.5, ramp="linear"))
