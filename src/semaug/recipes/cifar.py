"""Recipes on CIFAR: every network, augmentation and ablation of the ISDA papers.

A name is made of parts, ``DATA_NETWORK[_AUGMENTATION][_LOSS]``:

>>> from semaug.recipes import find_recipe
>>> recipe = find_recipe("cifar100_wide_resnet28_10_cutout_isda_diagonal")
>>> recipe.network, recipe.block_drop_rate, recipe.augment.cutout, recipe.loss.covariance
('wide_resnet28_10_cifar', 0.3, 8, 'diagonal')

Run:     semaug train NAME seed=0
Result:  see results/README.md
Smoke:   semaug train NAME --quick
Source:  arXiv:2007.10538, Table 9 for the settings, Tables 2, 4 and 8, Figs. 10 and 11 for the
         rows; arXiv:1909.12220, Tables 1, 2 and 5; what they leave open is in docs/recipes.md
"""

from dataclasses import replace
from typing import NamedTuple

from semaug.recipe.recipe import Augment, Loss, Recipe
from semaug.recipes.row import CIFAR_STRENGTH, Row, describe

__all__ = [
    "ABLATIONS",
    "EXPLICIT",
    "FIGURE_10",
    "FIGURE_11",
    "LEARNED",
    "STRENGTHS",
    "TABLE_2",
    "TABLE_4",
    "TABLE_8",
]

_DATA = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100"}


def _by_steps(network: str, epochs: int, *milestones: int) -> Recipe:
    """Return settings with a step schedule, milestones in epochs."""
    percent = tuple(100 * milestone / epochs for milestone in milestones)
    return Recipe(
        data="cifar10",
        network=network,
        epochs=epochs,
        batch_size=128,
        lr=0.1,
        schedule="step",
        milestones_percent=percent,
        lr_factor=0.1,
        momentum=0.9,
        nesterov=True,
        weight_decay=1e-4,
        augment=Augment(padding=4, flip=True),
    )


# Table 9, line by line; both CIFARs have the same settings.
_RESNET = _by_steps("resnet32_cifar", 160, 80, 120)
_SE_RESNET = _by_steps("se_resnet110_cifar", 200, 80, 120, 160)
_WIDE_RESNET = replace(
    _by_steps("wide_resnet16_8_cifar", 240, 60, 120, 160, 200), lr_factor=0.2, weight_decay=5e-4
)
_DENSENET = replace(_by_steps("densenet_bc100_12_cifar", 300, 150, 200, 250), batch_size=64)
_RESNEXT = replace(
    _by_steps("resnext29_8x64d_cifar", 350, 150, 225, 300), lr=0.05, weight_decay=5e-4
)
_SHAKE_SHAKE = replace(
    _by_steps("shake_shake26_2x32d_cifar", 1800),
    batch_size=64,
    schedule="cosine",
)

_WIDE_RESNET_28_10 = replace(
    _WIDE_RESNET,
    network="wide_resnet28_10_cifar",
    block_drop_rate=0.3,  # section 6.2.2: all its results are with dropout; rate of Appendix C
)
_SHAKE_SHAKE_112 = replace(_SHAKE_SHAKE, network="shake_shake26_2x112d_cifar")

_NETWORKS = {
    "ResNet-32": _RESNET,
    "ResNet-110": replace(_RESNET, network="resnet110_cifar"),
    "SE-ResNet-110": _SE_RESNET,
    "Wide-ResNet-16-8": _WIDE_RESNET,
    "Wide-ResNet-28-10": _WIDE_RESNET_28_10,
    "ResNeXt-29, 8x64d,": _RESNEXT,
    "DenseNet-BC-100-12": _DENSENET,
    "DenseNet-BC-190-40": replace(_DENSENET, network="densenet_bc190_40_cifar"),
    "Shake-Shake (26, 2x32d)": _SHAKE_SHAKE,
    "Shake-Shake (26, 2x112d)": _SHAKE_SHAKE_112,
}


class _Augmentation(NamedTuple):
    """A heavier augmentation, on each CIFAR."""

    description: str
    on_cifar10: Augment
    on_cifar100: Augment


# AutoAugment's paper applies its policy for CIFAR-10 to both, and Cutout with a side of 16 after
# it. RandAugment is treated alike; the papers of ISDA print no numbers, these are torchvision's.
_AUTOAUGMENT = Augment(policy="autoaugment_cifar10", cutout=16)
_RANDAUGMENT = Augment(policy="randaugment", randaugment_ops=2, randaugment_magnitude=9, cutout=16)
# Sides of Cutout alone are those of its paper.
_AUGMENTATIONS = {
    "cutout": _Augmentation("Cutout", Augment(cutout=16), Augment(cutout=8)),
    "randaugment": _Augmentation("RandAugment", _RANDAUGMENT, _RANDAUGMENT),
    "autoaugment": _Augmentation("AutoAugment", _AUTOAUGMENT, _AUTOAUGMENT),
}


_ISDA = Loss("isda", strength=CIFAR_STRENGTH, ramp="linear", covariance="full")

_BOTH_LOSSES = {"": ("cross-entropy", Loss()), "isda": ("ISDA", _ISDA)}

# The last part of a name, with what it stands for. Table 8, where the row that is none of these
# is ISDA itself.
ABLATIONS = {
    "isda_identity": ("ISDA (identity matrices)", replace(_ISDA, covariance="identity")),
    "isda_diagonal": ("ISDA (diagonal matrices)", replace(_ISDA, covariance="diagonal")),
    "isda_shared": ("ISDA (one matrix for all classes)", replace(_ISDA, covariance="shared")),
    "isda_constant": ("ISDA (constant strength)", replace(_ISDA, ramp="constant")),
}


def _explicit(num_samples: int) -> Loss:
    return replace(_ISDA, name="explicit", num_samples=num_samples)


# Fig. 10, where M = 0 is cross-entropy and M = infinity ISDA.
_SAMPLES = (1, 2, 5, 10, 20)
EXPLICIT = {f"explicit{m}": (f"explicit augmentation (M = {m})", _explicit(m)) for m in _SAMPLES}
LEARNED = {
    f"{name}_learned": (
        f"{description.removesuffix(')')}, learned covariances)",
        replace(loss, covariance="learned"),
    )
    for name, (description, loss) in EXPLICIT.items()
} | {"isda_learned": ("ISDA (learned covariances)", replace(_ISDA, covariance="learned"))}

# Fig. 11: the set that lambda_0 is chosen from, and two that section 6.5.4 speaks of. What is
# missing, 0.5, is ISDA as it is.
STRENGTHS = {
    f"isda_strength{strength:g}": (
        f"ISDA (strength {strength:g})",
        replace(_ISDA, strength=strength),
    )
    for strength in (0.1, 0.25, 0.75, 1.0, 5.0, 10.0)
}


def _rows(
    network: str, data: str, losses: dict[str, tuple[str, Loss]], augmentation: str = ""
) -> dict[str, Row]:
    """Return a row for each loss."""
    base = replace(_NETWORKS[network], data=data)
    told: tuple[str, ...] = ()
    if augmentation:
        heavier = _AUGMENTATIONS[augmentation]
        told = (heavier.description,)
        base = replace(
            base, augment=heavier.on_cifar10 if data == "cifar10" else heavier.on_cifar100
        )
    rows = {}
    for suffix, (description, loss) in losses.items():
        parts = (data, base.network.removesuffix("_cifar"), augmentation, suffix)
        rows["_".join(part for part in parts if part)] = Row(
            replace(base, loss=loss), describe(network, _DATA[data], description, *told)
        )
    return rows


_WRN = "Wide-ResNet-28-10"

# Each is a map from the name of a recipe to its row.
TABLE_2 = {
    name: row
    for network in _NETWORKS
    for data in _DATA
    for name, row in _rows(network, data, _BOTH_LOSSES).items()
}

TABLE_4 = {
    name: row
    for data in _DATA
    for network in (_WRN, "Shake-Shake (26, 2x32d)", "Shake-Shake (26, 2x112d)")
    for augmentation in _AUGMENTATIONS
    for name, row in _rows(network, data, _BOTH_LOSSES, augmentation).items()
}

TABLE_8 = (
    _rows(_WRN, "cifar10", ABLATIONS)
    | _rows(_WRN, "cifar100", ABLATIONS)
    | _rows(_WRN, "cifar100", ABLATIONS, "cutout")
)

FIGURE_10 = {
    name: row
    for augmentation in ("cutout", "autoaugment")
    for name, row in _rows(_WRN, "cifar100", EXPLICIT | LEARNED, augmentation).items()
}

FIGURE_11 = _rows(_WRN, "cifar100", STRENGTHS, "cutout")
