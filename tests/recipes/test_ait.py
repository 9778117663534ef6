"""Tests of semaug.recipes.ait and semaug.recipes.small."""

from dataclasses import replace

import pytest

from semaug.recipe.recipe import Augment, Loss, Method
from semaug.recipes import find_recipe
from semaug.recipes.ait import (
    AUGMENTATIONS,
    FIGURE_3,
    FIGURE_4,
    TABLE_1,
    TABLE_2,
    TABLE_3,
    TABLE_4,
    TABLE_5,
)
from semaug.recipes.small import SMALL_AIT


def test_tables_have_as_many_rows_as_the_paper():
    # Beside those of the paper: pairs; on CIFAR also long, and pairs and AIT with ISDA.
    assert len(TABLE_1) == 3 * 2 * 6 + 2 * 3
    assert len(TABLE_2) == 6 * 2
    assert len(TABLE_3) == 3 * 3
    assert len(TABLE_4) == 3 * 3
    assert len(TABLE_5) == 7 * 3 + 3 * 2  # crops are in Table 1; different views are no single's
    assert len(FIGURE_3) == 3 * 3 - 1
    assert len(FIGURE_4) == 2 * 4


@pytest.mark.parametrize(
    ("name", "network", "decay"),
    [
        ("cifar10_resnet32", "resnet32_cifar", 1e-4),
        ("cifar100_mobilenetv2", "mobilenetv2_cifar", 1e-4),
        ("cifar100_wide_resnet28_10", "wide_resnet28_10_cifar", 5e-4),
    ],
)
def test_cifar_has_the_settings_of_section_4_1(name, network, decay):
    recipe = find_recipe(f"{name}_single")
    same = find_recipe("cifar10_resnet32")  # of the ISDA papers
    assert recipe == replace(
        same, data=recipe.data, network=network, nesterov=False, weight_decay=decay
    )
    assert find_recipe(f"{name}_ait") == replace(recipe, batch_size=64, method=Method(name="ait"))


def test_imagenet_has_the_settings_of_section_4_1():
    recipe = find_recipe("imagenet_resnet50_single")
    assert (recipe.network, recipe.epochs, recipe.batch_size) == ("resnet50", 100, 256)
    assert recipe.milestones_percent == (30, 60, 80, 90)
    assert (recipe.lr, recipe.lr_factor, recipe.weight_decay) == (0.1, 0.1, 1e-4)
    assert recipe.augment == Augment(image_size=224, padding=0)
    assert find_recipe("imagenet_resnet18_part30_ait").subset.train_percent == 30
    assert find_recipe("imagenet_resnet18_part30_ait").batch_size == 128


def test_two_networks_see_as_many_images_a_step_as_one():
    recipe = find_recipe("cifar100_resnet32_mobilenetv2_multi_ait")
    assert recipe.batch_size == 128
    assert recipe.method == Method(name="multi_ait", peers=("mobilenetv2_cifar",))
    assert find_recipe("cifar100_resnet32_resnet32_dml").method.ai_weight == 1


def test_corrupted_labels_and_points_of_figures():
    assert find_recipe("cifar100_resnet32_corrupt80_ait").subset.corrupt_percent == 80
    method = find_recipe("cifar100_resnet32_ait_feature_map_both").method
    assert (method.ai_layer, method.ai_metric, method.ai_weight) == ("feature_map", "both", 1)
    assert find_recipe("cifar10_resnet32_ait_weight0.5").method.ai_weight == 0.5
    assert find_recipe("cifar100_resnet32_ait_isda").loss == Loss("isda", strength=0.5)


@pytest.mark.parametrize(
    ("augmentation", "expected"),
    [
        ("rh", Augment(padding=0)),
        ("rg", Augment(padding=0, grayscale=0.1)),
        ("rpgc", Augment(padding=4, grayscale=0.1, jitter=(0.1, 0.1, 0.1))),
    ],
)
def test_letters_of_table_5_stand_for_augmentations(augmentation, expected):
    for name in (
        "cifar100_resnet32_{}_single",
        "cifar100_resnet32_{}_ait",
        "cifar10_5k_resnet20_{}",
    ):
        assert find_recipe(name.format(augmentation)).augment == expected


def test_pairs_differ_from_ait_in_their_weight_alone():
    tables = TABLE_1 | TABLE_3 | TABLE_4 | TABLE_5 | SMALL_AIT
    pairs = {name for name in tables if name.endswith("_pairs")}
    assert {f"{name.removesuffix('_pairs')}_ait" for name in pairs} == {
        name for name in tables if name.endswith("_ait")
    }
    for name in pairs:
        ait = find_recipe(f"{name.removesuffix('_pairs')}_ait")
        assert find_recipe(name) == replace(ait, method=replace(ait.method, ai_weight=0.0))


def test_views_of_table_5_have_augmentations_of_their_own():
    recipe = find_recipe("cifar100_resnet32_rg_rc_ait")
    assert recipe.augments() == (
        Augment(padding=0, grayscale=0.1), Augment(padding=0, jitter=(0.1, 0.1, 0.1)),
    )  # fmt: skip


def test_small_twins_differ_from_the_small_baseline_in_what_they_are_for():
    single = find_recipe("cifar10_5k_resnet20")
    ait = replace(single, method=Method(name="ait"), batch_size=64)
    assert find_recipe("cifar10_5k_resnet20_ait") == ait
    assert find_recipe("cifar10_5k_resnet20_long") == replace(single, epochs=200)
    assert find_recipe("cifar10_5k_resnet20_ait_isda") == replace(
        ait, loss=Loss("isda", strength=0.5)
    )
    assert find_recipe("cifar10_5k_resnet20_pairs_isda") == replace(
        ait, method=Method(name="ait", ai_weight=0.0), loss=Loss("isda", strength=0.5)
    )
    assert len(SMALL_AIT) == 5 + 7 * 3 + 3 * 2
    assert len(AUGMENTATIONS) == 11
