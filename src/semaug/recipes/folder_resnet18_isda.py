"""ResNet-18 on a folder of your own photographs with ISDA.

Run:     semaug train folder_resnet18_isda seed=0 --data-root ROOT
Result:  none, for it depends on your images; compare with folder_resnet18
Smoke:   semaug train folder_resnet18_isda --quick --data-root ROOT   (CPU, a minute)
Source:  arXiv:1909.12220; differs from it in: see folder_resnet18; for ImageNet the paper has
         covariance=diagonal strength=7.5
"""

from dataclasses import replace

from semaug.recipes import Loss, Recipe
from semaug.recipes.folder_resnet18 import recipe as baseline

__all__ = ["recipe"]


def recipe() -> Recipe:
    """Return the recipe."""
    return replace(baseline(), loss=Loss("isda", strength=0.5, ramp="linear"))
