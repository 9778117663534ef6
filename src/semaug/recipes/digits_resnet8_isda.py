"""ResNet-8 on scikit-learn's digits with ISDA.

Run:     semaug train digits_resnet8_isda seed=0
Result:  see results/README.md
Smoke:   semaug train digits_resnet8_isda --quick   (CPU, seconds)
Source:  no paper; the loss is that of arXiv:1909.12220
"""

from dataclasses import replace

from semaug.recipes import Loss, Recipe
from semaug.recipes.digits_resnet8 import recipe as baseline

__all__ = ["recipe"]


def recipe() -> Recipe:
    """Return the recipe."""
    return replace(baseline(), loss=Loss("isda", strength=0.5, ramp="linear"))
