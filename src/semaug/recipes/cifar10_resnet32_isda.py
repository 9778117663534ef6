"""ResNet-32 on CIFAR-10 with ISDA.

Run:     semaug train cifar10_resnet32_isda seed=0
Result:  see results/README.md
Smoke:   semaug train cifar10_resnet32_isda --quick   (CPU, under a minute)
Source:  arXiv:1909.12220; differs from it in: zero padding, see cifar10_resnet32
"""

from dataclasses import replace

from semaug.recipes import Loss, Recipe
from semaug.recipes.cifar10_resnet32 import recipe as baseline

__all__ = ["recipe"]


def recipe() -> Recipe:
    """Return the recipe."""
    return replace(baseline(), loss=Loss("isda", strength=0.5, ramp="linear"))
