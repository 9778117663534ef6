"""ResNet-20 on 5,000 images of CIFAR-10: real evidence on two CPU cores.

Trains on the first 500 images of each class and tests on all 10,000 test images. Tables whose
names end in ``-small`` have changes of these recipes as rows:

>>> from semaug.recipes import find_recipe
>>> recipe = find_recipe("cifar10_5k_resnet20_isda,covariance=diagonal")
>>> recipe.subset.train_per_class, recipe.loss.covariance
(500, 'diagonal')

Run:     semaug compare cifar10_5k_resnet20 cifar10_5k_resnet20_isda --seeds 10
Result:  see results/README.md
Smoke:   semaug train cifar10_5k_resnet20_isda --quick   (CPU, under a minute)
Source:  settings of arXiv:2007.10538, Table 9; differs from it in: network, number of images and
         of epochs, the schedule, whose learning rate falls after half and three quarters of them,
         and zero padding; from AIT in Nesterov's momentum; see docs/recipes.md
"""

from dataclasses import replace

from semaug.data import Subset
from semaug.engine.schedules import Step
from semaug.recipe import Recipe
from semaug.recipes.ait import invariant
from semaug.recipes.cifar import TABLE_2
from semaug.recipes.row import Row, describe

__all__ = ["RECIPES", "baseline"]


def baseline() -> Recipe:
    """Return the recipe with cross-entropy."""
    return replace(
        TABLE_2["cifar10_resnet32"].recipe,
        subset=Subset(train_per_class=500),
        network="resnet20_cifar",
        epochs=100,
        schedule=Step(),
        evaluate_every_epochs=20,  # testing costs as much time as half an epoch of training
    )


_PLACE = "ResNet-20", "5,000 images of CIFAR-10"

RECIPES = {
    "cifar10_5k_resnet20": Row(baseline(), describe(*_PLACE, "cross-entropy")),
    "cifar10_5k_resnet20_ait": Row(
        invariant(baseline()), describe(*_PLACE, "AIT", "cross-entropy")
    ),
}
