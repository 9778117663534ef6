"""Small twins of tables: ResNet-20 on 5,000 images of CIFAR-10, for two CPU cores.

Each is ``cifar10_5k_resnet20`` with another loss, method or augmentation:

>>> from semaug.recipes import find_recipe
>>> recipe = find_recipe("cifar10_5k_resnet20_isda_diagonal")
>>> recipe.subset.train_per_class, recipe.loss.covariance
(500, 'diagonal')

Run:     semaug table isda-8-small --run, and other tables whose names end in -small
Result:  see results/README.md
Smoke:   semaug train NAME --quick
Source:  arXiv:2007.10538, Table 8, Figs. 10 and 11, and Tables 1 and 5 of AIT, for the rows;
         differs from them in: see cifar10_5k_resnet20; and from AIT in Nesterov's momentum
"""

from collections.abc import Iterator
from dataclasses import replace

from semaug.recipes.ait import AUGMENTATIONS, augmented, invariant, invariant_rows, pairs_and_ait
from semaug.recipes.cifar import ABLATIONS, EXPLICIT, LEARNED, STRENGTHS
from semaug.recipes.cifar10_5k_resnet20 import recipe as baseline
from semaug.recipes.row import Row, describe

__all__ = ["SMALL", "SMALL_AIT"]

_NAME, _LABEL, _DATA = "cifar10_5k_resnet20", "ResNet-20", "5,000 images of CIFAR-10"

SMALL = {
    f"{_NAME}_{suffix}": Row(
        replace(baseline(), loss=loss),
        describe(_LABEL, _DATA, description),
    )
    for suffix, (description, loss) in (ABLATIONS | STRENGTHS | EXPLICIT | LEARNED).items()
}


def _by_augmentation() -> Iterator[dict[str, Row]]:
    """Return Table 5 of AIT; its baseline with crops is there already."""
    for augmentation in AUGMENTATIONS:
        recipe = augmented(baseline(), augmentation)
        name, data = f"{_NAME}_{augmentation}", f"{_DATA} ({augmentation})"
        if recipe.method.view_augments:
            yield pairs_and_ait(name, recipe, _LABEL, data)
        elif augmentation != "rp":
            single = {name: Row(recipe, describe(_LABEL, data, "cross-entropy"))}
            yield single | pairs_and_ait(name, invariant(recipe), _LABEL, data)


SMALL_AIT = invariant_rows(_NAME, baseline(), _LABEL, _DATA) | {
    name: row for rows in _by_augmentation() for name, row in rows.items()
}
