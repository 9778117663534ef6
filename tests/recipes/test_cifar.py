"""Tests of semaug.recipes.cifar."""

from dataclasses import replace

import pytest

from semaug.engine.schedule import learning_rate_schedule
from semaug.recipes import Augment, Loss, find_recipe
from semaug.recipes.cifar import FIGURE_10, FIGURE_11, TABLE_2, TABLE_4, TABLE_8

WRN = "wide_resnet28_10"

# Typed from the paper: epochs, batch size, weight decay, lr, factor and epochs of its changes.
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


@pytest.mark.parametrize("loss", ["", "_isda"])
@pytest.mark.parametrize("data", ["cifar10", "cifar100"])
@pytest.mark.parametrize("network", TABLE_9)
def test_settings_are_those_of_table_9(network, data, loss):
    epochs, batch_size, weight_decay, lr, factor, changes = TABLE_9[network]
    recipe = find_recipe(f"{data}_{network}{loss}")
    assert (recipe.data, recipe.network) == (data, f"{network}_cifar")
    assert (recipe.epochs, recipe.batch_size, recipe.weight_decay) == (
        epochs,
        batch_size,
        weight_decay,
    )
    assert (recipe.lr, recipe.momentum, recipe.nesterov) == (lr, 0.9, True)
    assert recipe.augment == Augment(padding=4, flip=True)
    assert recipe.block_drop_rate == (0.3 if network == WRN else None)
    assert recipe.loss == (Loss("isda", 0.5, "linear", "full") if loss else Loss("cross_entropy"))
    if changes == "cosine":
        assert recipe.schedule == "cosine"
        return
    assert (recipe.schedule, recipe.lr_factor) == ("step", factor)
    steps_per_epoch = -(-50_000 // batch_size)
    rate = learning_rate_schedule(recipe, steps_per_epoch)
    found = [
        epoch
        for epoch in range(1, epochs)
        if rate(epoch * steps_per_epoch) < rate(epoch * steps_per_epoch - 1)
    ]
    assert found == changes


@pytest.mark.parametrize("network", [WRN, "shake_shake26_2x32d", "shake_shake26_2x112d"])
@pytest.mark.parametrize(
    ("data", "name", "expected"),
    [
        ("cifar10", "cutout", Augment(cutout=16)),
        ("cifar100", "cutout", Augment(cutout=8)),
        ("cifar10", "randaugment", Augment(policy="randaugment", cutout=16)),
        ("cifar100", "randaugment", Augment(policy="randaugment", cutout=16)),
        ("cifar10", "autoaugment", Augment(policy="autoaugment_cifar10", cutout=16)),
        ("cifar100", "autoaugment", Augment(policy="autoaugment_cifar10", cutout=16)),
    ],
)
def test_rows_of_table_4_differ_from_those_of_table_2_in_the_augmentation_alone(
    network, data, name, expected
):
    recipe = find_recipe(f"{data}_{network}_{name}")
    assert recipe == replace(find_recipe(f"{data}_{network}"), augment=expected)


@pytest.mark.parametrize("start", [f"cifar10_{WRN}", f"cifar100_{WRN}", f"cifar100_{WRN}_cutout"])
@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("identity", {"covariance": "identity"}),
        ("diagonal", {"covariance": "diagonal"}),
        ("shared", {"covariance": "shared"}),
        ("constant", {"ramp": "constant"}),
    ],
)
def test_rows_of_table_8_change_one_thing_about_isda(start, name, change):
    recipe = find_recipe(f"{start}_isda")
    changed = find_recipe(f"{start}_isda_{name}")
    assert changed == replace(recipe, loss=replace(recipe.loss, **change))


@pytest.mark.parametrize("augmentation", ["cutout", "autoaugment"])
@pytest.mark.parametrize("m", [1, 2, 5, 10, 20])
def test_points_of_figure_10_draw_m_features(augmentation, m):
    name = f"cifar100_{WRN}_{augmentation}"
    estimated = Loss("explicit", 0.5, "linear", "full", num_samples=m)
    assert find_recipe(f"{name}_explicit{m}").loss == estimated
    learned = replace(estimated, covariance="learned")
    assert find_recipe(f"{name}_explicit{m}_learned").loss == learned
    assert find_recipe(f"{name}_isda_learned").loss == Loss("isda", 0.5, covariance="learned")


@pytest.mark.parametrize("strength", ["0.1", "0.25", "0.75", "1", "5", "10"])
def test_points_of_figure_11_have_their_strength(strength):
    loss = find_recipe(f"cifar100_{WRN}_cutout_isda_strength{strength}").loss
    assert loss == Loss("isda", float(strength))


def test_tables_have_as_many_rows_as_the_papers():
    assert len(TABLE_2) == (9 + 1) * 2 * 2  # and DenseNet-BC-190-40
    assert len(TABLE_4) == 2 * 3 * 3 * 2
    assert len(TABLE_8) == 4 * 3
    assert len(FIGURE_10) == 2 * (5 + 5 + 1)
    assert len(FIGURE_11) == 6


def test_descriptions_name_every_part():
    row = FIGURE_10[f"cifar100_{WRN}_cutout_explicit5_learned"]
    assert row.description == (
        "Wide-ResNet-28-10 on CIFAR-100 with Cutout and explicit augmentation "
        "(M = 5, learned covariances)."
    )
