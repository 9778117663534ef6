"""Semi-supervised learning with CNN-13: the rows of Table 6 of T-PAMI, and small twins of them.

A name is ``DATA_LABELS_HOST``, with the host ``supervised``, ``pi_model``, ``temporal_ensembling``,
``mean_teacher`` or ``vat``; its twin with ISDA, with and without labels, ends in ``_isda``. In the
small ones, ``cifar10_10k_HOST``, a CNN-13 of width 16 learns 1,000 labels among 10,000 images.
Ablations are changes of these:

- ``NAME_isda,unlabeled_loss=none``: ISDA on labeled images alone (eta1 = 0)
- ``NAME_isda,eta2=0``: ISDA without the host
- ``NAME_isda,strength=0``: what is left of ISDA without augmentation (lambda_0 = 0)
- ``NAME_isda,target=host``: Proposition 2 with the host's target in place of the prediction
- ``cifar10_4000_vat,entropy_weight=1``: VAT + EntMin

An epoch is one of all training images, which come without their labels; labeled images cycle.

>>> from semaug.recipes import find_recipe
>>> recipe = find_recipe("cifar10_4000_mean_teacher_isda")
>>> recipe.subset.labeled_per_class, recipe.method.teacher_decay, recipe.method.unlabeled_loss.eta1
(400, 0.999, 1.0)

Run:     semaug search NAME_isda strength=0.1,0.25,0.5,0.75,1 eta1=0.5,1,2 --hold-out N, a quarter
         of the labels, then semaug compare NAME NAME_isda,strength=...,eta1=... --seeds 5
Result:  see results/README.md
Smoke:   semaug train cifar10_10k_mean_teacher_isda --quick
Source:  arXiv:2007.10538, section 6.1 and Appendices B and C; what it leaves open is in
         docs/recipes.md
"""

import math
from dataclasses import replace
from typing import Any, NamedTuple

from semaug.augmentation import Augment
from semaug.data import Subset
from semaug.engine.optimizers import SGD
from semaug.engine.schedules import Cosine
from semaug.methods.mean_teacher import MeanTeacherMethod
from semaug.methods.pi_model import PiModelMethod
from semaug.methods.temporal_ensembling import TemporalEnsemblingMethod
from semaug.methods.vat import VATMethod
from semaug.recipe import Recipe
from semaug.recipes.row import CIFAR, CIFAR_STRENGTH, Row, describe

__all__ = ["HOSTS", "SMALL", "TABLE_6"]

_BATCH_SIZE, _EPOCHS = 128, 400
_CROP = Augment(padding=2, padding_mode="reflect", whitening=True)


class _Data(NamedTuple):
    called: str
    num_classes: int
    num_images: int
    augment: Augment


_DATA = {
    "cifar10": _Data(CIFAR["cifar10"], 10, 50_000, _CROP),
    "cifar100": _Data(CIFAR["cifar100"], 100, 50_000, _CROP),
    "svhn": _Data("SVHN", 10, 73_257, replace(_CROP, flip=False, whitening="per_image")),
}
_LABELS = {"cifar10": (1000, 2000, 4000), "cifar100": (10_000, 20_000), "svhn": (500,)}

# By name: what a person reads. Weights are those of the sources, in our convention.
HOSTS = {
    "supervised": ("labels alone", "supervised"),
    "pi_model": ("the Pi-model", PiModelMethod()),
    "temporal_ensembling": ("temporal ensembling", TemporalEnsemblingMethod()),
    "mean_teacher": ("mean teacher", MeanTeacherMethod()),
    "vat": ("VAT", VATMethod()),
}
_OF_DATA: dict[tuple[str, str], Any] = {
    ("cifar100", "temporal_ensembling"): TemporalEnsemblingMethod(host_weight=100.0),
    ("svhn", "mean_teacher"): MeanTeacherMethod(decay_in_ramp=0.99),
    ("svhn", "vat"): VATMethod(epsilon=18.0),  # 3.5 of images a fifth as long
}


def _recipe(data: str, labels: int, host: str) -> Recipe:
    """Return a row: labels that the seed draws, as many of each class."""
    told = _DATA[data]
    recipe = Recipe(
        data=data,
        subset=Subset(
            labeled_per_class=labels // told.num_classes, hold_out_labeled=True, subset_seed="run"
        ),
        network="cnn13_cifar",
        method=_OF_DATA.get((data, host), HOSTS[host][1]),
        epochs=_EPOCHS,
        batch_size=_BATCH_SIZE,
        augment=told.augment,
        optimizer=SGD(lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-4),
        schedule=Cosine(),
    )
    return _of_labels_alone(recipe, told.num_images) if host == "supervised" else recipe


def _of_labels_alone(recipe: Recipe, num_images: int) -> Recipe:
    """Count steps, as many as those whose epochs are of all images, tested as often."""
    steps = math.ceil(num_images / recipe.batch_size)
    return recipe.lasting(steps=(recipe.epochs or 0) * steps, evaluate_every_steps=steps)


def _row(recipe: Recipe, host: str, network: str, images: str) -> Row:
    isda = {"strength": CIFAR_STRENGTH}
    if host != "supervised":
        isda["unlabeled_loss"] = "semantic_consistency"
    return Row(recipe, describe(network, images, HOSTS[host][0], "cross-entropy"), isda)


TABLE_6 = {
    f"{data}_{labels}_{host}": _row(
        _recipe(data, labels, host), host, "CNN-13", f"{labels:,} labels of {_DATA[data].called}"
    )
    for data, numbers in _LABELS.items()
    for labels in numbers
    for host in HOSTS
}


def _small(host: str) -> Recipe:
    """Return a small twin, whose whitening fits images that it was not fitted on.

    That of Table 6, fitted on 10,000 images, makes others a quarter longer; this one 6 %.
    """
    whole = _recipe("cifar10", 1000, host)
    recipe = replace(
        whole.lasting(epochs=40),
        subset=replace(whole.subset, train_per_class=1000),
        augment=replace(whole.augment, whitening="contrast"),
        method=VATMethod(epsilon=4.0) if host == "vat" else whole.method,  # of half the scale
        network="cnn13_16_cifar",
        evaluate_every_epochs=10,
    )
    return _of_labels_alone(recipe, 10_000) if host == "supervised" else recipe


SMALL = {
    f"cifar10_10k_{host}": _row(
        _small(host), host, "A CNN-13 of width 16", "1,000 labels among 10,000 images of CIFAR-10"
    )
    for host in HOSTS
}
