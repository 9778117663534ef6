"""ResNet-20 on 5,000 images of CIFAR-10 with cross-entropy: real evidence on two CPU cores.

Trains on the first 500 images of each class and tests on all 10,000 test images.

Run:     semaug train cifar10_5k_resnet20 seed=0
Result:  see results/README.md
Smoke:   semaug train cifar10_5k_resnet20 --quick   (CPU, under a minute)
Source:  settings of arXiv:2007.10538, Table 9; differs from it in: network, number of
         images and of epochs, and zero padding, see docs/recipes.md
"""

from dataclasses import replace

from semaug.recipe.recipe import Recipe, Subset
from semaug.recipes.cifar import TABLE_2

__all__ = ["recipe"]


def recipe() -> Recipe:
    """Return the recipe."""
    return replace(
        TABLE_2["cifar10_resnet32"].recipe,
        subset=Subset(train_per_class=500),
        network="resnet20_cifar",
        epochs=100,
        evaluate_every_epochs=20,  # testing costs as much time as half an epoch of training
    )
