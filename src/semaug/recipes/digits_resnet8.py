"""ResNet-8 on scikit-learn's digits with cross-entropy: small enough for any computer.

Run:     semaug train digits_resnet8 seed=0
Result:  see results/README.md
Smoke:   semaug train digits_resnet8 --quick   (CPU, seconds)
Source:  no paper; a recipe for demonstrations and tests, for 1000 images of 8 x 8 pixels
"""

from semaug.recipes import Augment, Recipe

__all__ = ["recipe"]


def recipe() -> Recipe:
    """Return the recipe."""
    return Recipe(
        data="digits",
        network="resnet8_cifar",
        epochs=30,
        batch_size=64,
        lr=0.1,
        schedule="cosine",
        augment=Augment(padding=1, flip=False),  # a mirrored digit is another shape
    )
