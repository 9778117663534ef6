"""Recipes of augmentation invariant training (AIT): every row of its paper, and fair baselines.

A name is made of parts, ``DATA_NETWORK[_NETWORK][_AUGMENTATION]_METHOD``. Methods are:

- ``single``: the paper's baseline, cross-entropy on one view of each image, 128 a step
- ``ait``: two views of each of 64 images a step, so 128 pass through the network
- ``pairs``: the same pairs with weight 0: as many steps and passes as ``ait``, without its loss
- ``long``: ``single`` for twice the epochs: as many passes as ``ait``, about as many steps, and
  twice as many images
- ``ait_isda``: AIT with ISDA in place of the cross-entropy; ``pairs_isda``: with weight 0
- ``dml``, ``multi_ait``: two networks, with one view or with one each; 128 images a step

The paper's Table 1 compares ``single`` with what is here ``ait``: twice the steps and twice the
passes. What AIT itself gives shows against ``pairs``, which differs in nothing else. ``long`` is
what the same work gives without pairs, at the learning rate of ``single``: since AIT adds the
cross-entropies of two views, its gradient is twice as large as that of ``long``.

>>> from semaug.recipes import find_recipe
>>> recipe = find_recipe("cifar100_resnet32_rp_rg_ait")
>>> recipe.method.view_augments, recipe.batch_size
(('rp', 'rg'), 64)

Run:     semaug train NAME seed=0; with ai_convention=released ai_target_gradient=false as the
         released code does
Result:  see results/README.md
Smoke:   semaug train NAME --quick
Source:  Chen et al., Augmentation Invariant Training, ICCV Workshops 2019, section 4; what it
         leaves open is in docs/recipes.md
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from semaug.recipe.method_options import LAYERS, METRICS
from semaug.recipe.recipe import Augment, Loss, Method, Recipe
from semaug.recipes.row import CIFAR_STRENGTH, Row, describe

__all__ = [
    "AUGMENTATIONS",
    "DATA",
    "FIGURE_3",
    "FIGURE_4",
    "NETWORKS",
    "TABLE_1",
    "TABLE_2",
    "TABLE_3",
    "TABLE_4",
    "TABLE_5",
    "WEIGHTS",
    "augmented",
    "invariant",
    "invariant_rows",
    "pairs_and_ait",
]

# By part of a name, as a person reads it.
DATA = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100"}

# Section 4.1, which does not speak of Nesterov's momentum.
_CIFAR = Recipe(
    data="cifar100",
    network="resnet32_cifar",
    epochs=160,
    batch_size=128,
    lr=0.1,
    schedule="step",
    milestones_percent=(50.0, 75.0),
    lr_factor=0.1,
    momentum=0.9,
    nesterov=False,
    weight_decay=1e-4,
    augment=Augment(padding=4, flip=True),
)
_IMAGENET = replace(
    _CIFAR,
    data="imagenet",
    network="resnet18",
    epochs=100,
    batch_size=256,
    milestones_percent=(30.0, 60.0, 80.0, 90.0),
    augment=Augment(image_size=224, padding=0, flip=True),
    evaluation_batch_size=256,
)
NETWORKS = {
    "resnet32": ("ResNet-32", _CIFAR),
    "mobilenetv2": ("MobileNetV2", replace(_CIFAR, network="mobilenetv2_cifar")),
    "wide_resnet28_10": (
        "Wide-ResNet-28-10",
        replace(_CIFAR, network="wide_resnet28_10_cifar", weight_decay=5e-4),
    ),
}

_AIT = Method(name="ait")
_ISDA = Loss("isda", strength=CIFAR_STRENGTH, ramp="linear", covariance="full")


def invariant(single: Recipe, method: Method = _AIT) -> Recipe:
    """Return AIT with as many passes a step as a recipe with one view has."""
    return replace(single, method=method, batch_size=single.batch_size // method.num_views)


def invariant_rows(name: str, single: Recipe, label: str, data: str) -> dict[str, Row]:
    """Return AIT and its two fair baselines, and AIT with ISDA and its own.

    Args:
        name: The recipe's without its method.
        single: The paper's baseline.
        label: Of the network.
        data: Of the images, as a person reads it.
    """
    ait = invariant(single)
    return pairs_and_ait(name, ait, label, data) | {
        f"{name}_long": Row(
            replace(single, epochs=2 * single.epochs),
            describe(label, data, "cross-entropy for twice the epochs: as many passes as AIT"),
        ),
        f"{name}_pairs_isda": Row(
            replace(_without_invariance(ait), loss=_ISDA),
            describe(label, data, "ISDA on AIT's pairs"),
        ),
        f"{name}_ait_isda": Row(replace(ait, loss=_ISDA), describe(label, data, "AIT and ISDA")),
    }


def pairs_and_ait(name: str, ait: Recipe, label: str, data: str) -> dict[str, Row]:
    """Return AIT, and what differs from it in nothing but its weight.

    Args:
        name: The recipe's without its method.
        ait: AIT.
        label: Of the network.
        data: Of the images, as a person reads it.
    """
    pairs = "cross-entropy on AIT's pairs: as many steps and passes"
    return {
        f"{name}_pairs": Row(_without_invariance(ait), describe(label, data, pairs)),
        f"{name}_ait": Row(ait, describe(label, data, "AIT")),
    }


def _without_invariance(ait: Recipe) -> Recipe:
    return replace(ait, method=replace(ait.method, ai_weight=0.0))


def _single(name: str, single: Recipe, label: str, data: str) -> dict[str, Row]:
    return {
        f"{name}_single": Row(
            single, describe(label, data, "cross-entropy on one view, the baseline of AIT")
        )
    }


def _both(name: str, single: Recipe, label: str, data: str) -> dict[str, Row]:
    """Return the paper's two sides, and the pairs."""
    own = pairs_and_ait(name, invariant(single), label, data)
    return _single(name, single, label, data) | own


def _table_1() -> Iterator[dict[str, Row]]:
    for network, (label, single) in NETWORKS.items():
        for data, called in DATA.items():
            name, own = f"{data}_{network}", replace(single, data=data)
            yield _single(name, own, label, called) | invariant_rows(name, own, label, called)
    for network, label in {"resnet18": "ResNet-18", "resnet50": "ResNet-50"}.items():
        own = replace(_IMAGENET, network=network)
        yield _both(f"imagenet_{network}", own, label, "ImageNet")


def _table_2() -> Iterator[dict[str, Row]]:
    names = tuple(NETWORKS)
    for first, second in [(name, name) for name in names] + [
        (names[0], names[1]), (names[0], names[2]), (names[1], names[2]),
    ]:  # fmt: skip
        (label, single), (peer_label, peer) = NETWORKS[first], NETWORKS[second]
        decays = () if peer.weight_decay == single.weight_decay else (peer.weight_decay,)
        for method, called in {"dml": "deep mutual learning", "multi_ait": "multi-AIT"}.items():
            together = Method(name=method, peers=(peer.network,), peer_weight_decay=decays)
            yield {
                f"cifar100_{first}_{second}_{method}": Row(
                    replace(single, method=together),
                    describe(f"{label} and {peer_label}", "CIFAR-100", called),
                )
            }


def _table_3() -> Iterator[dict[str, Row]]:
    for percent in (20, 50, 80):
        noisy = replace(_CIFAR.subset, corrupt_percent=float(percent))
        yield _both(
            f"cifar100_resnet32_corrupt{percent}",
            replace(_CIFAR, subset=noisy),
            "ResNet-32",
            f"CIFAR-100, {percent} % of its labels corrupted,",
        )


def _table_4() -> Iterator[dict[str, Row]]:
    for percent in (10, 30, 50):
        part = replace(_IMAGENET.subset, train_percent=float(percent))
        yield _both(
            f"imagenet_resnet18_part{percent}",
            replace(_IMAGENET, subset=part),
            "ResNet-18",
            f"{percent} % of ImageNet",
        )


# Table 5: r, then letters of p (crop), g (grayscale) and c (color jitter), or h for none of them;
# all flip. The released code's jitter also turns hues by 0.1, of which section 4.4 says nothing.
_PARTS: dict[str, dict[str, Any]] = {
    "p": {"padding": 4},
    "g": {"grayscale": 0.1},
    "c": {"jitter": (0.1, 0.1, 0.1)},
}
# By name of the recipe; those of several words have a view for each, and no baseline.
AUGMENTATIONS = (
    "rh", "rp", "rg", "rc", "rpg", "rpc", "rgc", "rpgc", "rp_rg", "rp_rc", "rg_rc",
)  # fmt: skip


def augmented(single: Recipe, augmentation: str) -> Recipe:
    """Return a recipe with an augmentation of Table 5, with AIT if its views differ.

    >>> augmented(_CIFAR, "rg").augment.grayscale, augmented(_CIFAR, "rg").augment.padding
    (0.1, 0)
    """
    options: dict[str, Any] = {"padding": 0, "flip": True}
    for letter, option in _PARTS.items():
        if letter in augmentation:
            options |= option
    recipe = replace(single, augment=Augment(**options))
    views = tuple(augmentation.split("_"))
    return recipe if len(views) == 1 else invariant(recipe, replace(_AIT, view_augments=views))


def _table_5() -> Iterator[dict[str, Row]]:
    for augmentation in AUGMENTATIONS:
        recipe, data = augmented(_CIFAR, augmentation), f"CIFAR-100 ({augmentation})"
        name = f"cifar100_resnet32_{augmentation}"
        if recipe.method.view_augments:
            yield pairs_and_ait(name, recipe, "ResNet-32", data)
        elif augmentation != "rp":  # which is the augmentation of Table 1
            yield _both(name, recipe, "ResNet-32", data)


def _figure_3() -> Iterator[dict[str, Row]]:
    for layer in LAYERS:
        for metric in METRICS:
            if (layer, metric) != ("logits", "kl"):  # which is AIT as it is
                method = replace(_AIT, ai_layer=layer, ai_metric=metric)
                what = f"AIT ({metric} of {layer.replace('_', ' ')})"
                yield {
                    f"cifar100_resnet32_ait_{layer}_{metric}": Row(
                        invariant(_CIFAR, method), describe("ResNet-32", "CIFAR-100", what)
                    )
                }


# Fig. 4 has lambda from 0 to 4; 0 is the recipe `pairs`, 1 is AIT as it is.
WEIGHTS = (0.5, 2.0, 3.0, 4.0)


def _figure_4() -> Iterator[dict[str, Row]]:
    for data, called in DATA.items():
        for weight in WEIGHTS:
            method = replace(_AIT, ai_weight=weight)
            yield {
                f"{data}_resnet32_ait_weight{weight:g}": Row(
                    invariant(replace(_CIFAR, data=data), method),
                    describe("ResNet-32", called, f"AIT (weight {weight:g})"),
                )
            }


def _joined(tables: Iterator[dict[str, Row]]) -> dict[str, Row]:
    return {name: row for table in tables for name, row in table.items()}


# Each is a map from the name of a recipe to its row.
TABLE_1 = _joined(_table_1())
TABLE_2 = _joined(_table_2())
TABLE_3 = _joined(_table_3())
TABLE_4 = _joined(_table_4())
TABLE_5 = _joined(_table_5())
FIGURE_3 = _joined(_figure_3())
FIGURE_4 = _joined(_figure_4())
