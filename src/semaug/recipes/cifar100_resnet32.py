"""ResNet-32 on CIFAR-100 with cross-entropy, the baseline of the ISDA papers.

Run:     semaug train cifar100_resnet32 seed=0
Result:  see results/README.md
Smoke:   semaug train cifar100_resnet32 --quick   (CPU, under a minute)
Source:  arXiv:2007.10538, Table 9, the same for both CIFARs; differs from it in: zero
         padding, see cifar10_resnet32
"""

from dataclasses import replace

from semaug.recipes import Recipe
from semaug.recipes.cifar10_resnet32 import recipe as on_cifar10

__all__ = ["recipe"]


def recipe() -> Recipe:
    """Return the recipe."""
    # Not written out again: the papers train both CIFARs with one set of numbers.
    return replace(on_cifar10(), data="cifar100")
