"""Small twins of ablations: ResNet-20 on 5,000 images of CIFAR-10, for two CPU cores.

Each is ``cifar10_5k_resnet20`` with another loss:

>>> from semaug.recipes import find_recipe
>>> recipe = find_recipe("cifar10_5k_resnet20_isda_diagonal")
>>> recipe.subset.train_per_class, recipe.loss.covariance
(500, 'diagonal')

Run:     semaug table isda-8-small --run, semaug table isda-fig11-small --run
Result:  see results/README.md
Smoke:   semaug train NAME --quick
Source:  arXiv:2007.10538, Table 8, Figs. 10 and 11 for the rows; differs from them in: see
         cifar10_5k_resnet20
"""

from dataclasses import replace

from semaug.recipes.cifar import ABLATIONS, EXPLICIT, LEARNED, STRENGTHS
from semaug.recipes.cifar10_5k_resnet20 import recipe as baseline
from semaug.recipes.row import Row, describe

__all__ = ["SMALL"]

SMALL = {
    f"cifar10_5k_resnet20_{suffix}": Row(
        replace(baseline(), loss=loss),
        describe("ResNet-20", "5,000 images of CIFAR-10", description),
    )
    for suffix, (description, loss) in (ABLATIONS | STRENGTHS | EXPLICIT | LEARNED).items()
}
