"""ResNet-8 on scikit-learn's digits: small enough for any computer.

Run:     semaug compare digits_resnet8 digits_resnet8_isda --seeds 3
Result:  see results/README.md
Smoke:   semaug train digits_resnet8 --quick   (CPU, seconds)
Source:  no paper; a recipe for demonstrations and tests, for 1000 images of 8 x 8 pixels; the loss
         of its twin is that of arXiv:1909.12220
"""

from semaug.augmentation import Augment
from semaug.engine.optimizers import SGD
from semaug.engine.schedules import Cosine
from semaug.recipe import Recipe
from semaug.recipes.row import Row

__all__ = ["RECIPES", "baseline"]


def baseline() -> Recipe:
    """Return the recipe with cross-entropy."""
    return Recipe(
        data="digits",
        network="resnet8_cifar",
        epochs=30,
        batch_size=64,
        optimizer=SGD(lr=0.1),
        schedule=Cosine(),
        augment=Augment(padding=1, flip=False),  # a mirrored digit is another shape
    )


RECIPES = {
    "digits_resnet8": Row(baseline(), "ResNet-8 on scikit-learn's digits with cross-entropy.")
}
