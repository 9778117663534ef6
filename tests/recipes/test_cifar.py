"""Tests of semaug.recipes.cifar."""

from dataclasses import replace

from semaug.augmentation import Augment
from semaug.engine.optimizers import SGD
from semaug.engine.schedules import Cosine
from semaug.losses import ISDA, CrossEntropy
from semaug.recipe.plan import StreamPlan, make_plan
from semaug.recipes import find_recipe
from semaug.recipes.cifar import TABLE_2, TABLE_4
from semaug.registry import data_sets, networks

WRN = "wide_resnet28_10"
CIFAR = ("cifar10", "cifar100")

# Typed from the paper: epochs, batch size, weight decay, lr, factor, and in which epochs it falls.
TABLE_9 = {
    "resnet32": (160, 128, 1e-4, 0.1, 0.1, [80, 120]),
    "resnet110": (160, 128, 1e-4, 0.1, 0.1, [80, 120]),
    "se_resnet110": (200, 128, 1e-4, 0.1, 0.1, [80, 120, 160]),
    "wide_resnet16_8": (240, 128, 5e-4, 0.1, 0.2, [60, 120, 160, 200]),
    "wide_resnet28_10": (240, 128, 5e-4, 0.1, 0.2, [60, 120, 160, 200]),
    "densenet_bc100_12": (300, 64, 1e-4, 0.1, 0.1, [150, 200, 250]),
    "densenet_bc190_40": (300, 64, 1e-4, 0.1, 0.1, [150, 200, 250]),
    "resnext29_8x64d": (350, 128, 5e-4, 0.05, 0.1, [150, 225, 300]),
    "shake_shake26_2x32d": (1800, 64, 1e-4, 0.1, None, "cosine"),
    "shake_shake26_2x112d": (1800, 64, 1e-4, 0.1, None, "cosine"),
}
HEAVIER = {
    "cutout": [Augment(cutout=16), Augment(cutout=8)],
    "randaugment": [Augment(policy="randaugment", cutout=16)] * 2,
    "autoaugment": [Augment(policy="autoaugment_cifar10", fill="gray", cutout=16)] * 2,
}


def epochs_of_changes(recipe):
    """Return the epochs, counted from 1, with whose first step the learning rate falls."""
    plan = make_plan(recipe, {"labeled": StreamPlan(50_000, recipe.batch_size)})
    rate, steps = recipe.schedule.build(plan), plan.steps_per_epoch
    lr = recipe.optimizer.lr
    return [
        epoch
        for epoch in range(2, recipe.epochs + 1)
        if rate(lr, (epoch - 1) * steps) < rate(lr, (epoch - 1) * steps - 1)
    ]


def test_settings_are_those_of_table_9():
    names = [f"{data}_{network}" for network in TABLE_9 for data in CIFAR]
    assert set(TABLE_2) == set(names)
    for name in names:
        recipe = TABLE_2[name].recipe
        data, _, network = name.partition("_")
        epochs, batch_size, weight_decay, lr, factor, changes = TABLE_9[network]
        dropout = {"block_drop_rate": 0.3} if network == WRN else {}
        assert recipe.network == networks.make(f"{network}_cifar", **dropout)
        assert data_sets.name_of(recipe.data) == data
        assert (recipe.epochs, recipe.batch_size) == (epochs, batch_size)
        assert recipe.optimizer == SGD(lr=lr, momentum=0.9, weight_decay=weight_decay)
        assert recipe.augment == Augment(padding=4, flip=True)
        assert recipe.loss == CrossEntropy()
        assert find_recipe(f"{name}_isda").loss == ISDA(strength=0.5)
        if changes == "cosine":
            assert recipe.schedule == Cosine()
        else:
            assert recipe.schedule.lr_factor == factor
            assert epochs_of_changes(recipe) == changes


def test_rows_of_table_4_differ_from_those_of_table_2_in_the_augmentation_alone():
    assert len(TABLE_4) == 2 * 3 * 3
    for network in (WRN, "shake_shake26_2x32d", "shake_shake26_2x112d"):
        for name, both in HEAVIER.items():
            for data, augment in zip(CIFAR, both, strict=True):
                base = TABLE_2[f"{data}_{network}"].recipe
                assert TABLE_4[f"{data}_{network}_{name}"].recipe == replace(base, augment=augment)


def test_descriptions_name_every_part():
    assert TABLE_4[f"cifar100_{WRN}_cutout"].description == (
        "Wide-ResNet-28-10 on CIFAR-100 with Cutout and cross-entropy."
    )
