"""Tests of semaug.published.places."""

import pytest

from semaug.published import find_published, load_published
from semaug.published.places import cells_of, recipe_of
from semaug.recipes import RECIPES, find_recipe

METHODS = {"cutout": "cutout", "rand_augment": "randaugment", "auto_augment": "autoaugment"}


def errors_of(paper, table):
    return [n for n in find_published(paper, table) if n.metric.endswith("error_percent")]


@pytest.mark.parametrize(
    ("paper", "table", "cells"),
    [
        ("isda", 2, 36),
        ("isda", 4, 36),
        ("isda", 8, 18),
        ("isda-neurips", 1, 32),
        ("isda-neurips", 2, 24),
        ("isda-neurips", 5, 12),
    ],
)
def test_every_cell_of_a_table_has_its_recipe(paper, table, cells):
    numbers = errors_of(paper, table)
    assert len(numbers) == cells
    for number in numbers:
        name = recipe_of(number)
        assert name is not None, number
        assert number in cells_of(name)
        recipe = find_recipe(name)
        assert (recipe.data, recipe.network) == (number.data, number.network)
        assert (recipe.loss.name == "isda") == ("isda" in number.method)
        for method, part in METHODS.items():
            assert (method in number.method) == (f"_{part}" in name)


def test_imagenet_has_all_cells_that_are_the_papers_own():
    for number in errors_of("isda", 1):
        by_others = number.method == "cross_entropy_by_others"
        suffix = "_isda" if number.method == "isda" else ""
        expected = None if by_others else f"imagenet_{number.network}{suffix}"
        assert recipe_of(number) == expected


@pytest.mark.parametrize(
    ("paper", "table", "row", "column", "expected"),
    [
        ("isda", 2, "DenseNet-BC-100-12", "CIFAR-10, Basic", "cifar10_densenet_bc100_12"),
        ("isda", 4, "CIFAR-100, Shake-Shake (26, 2x32d)", "RA + ISDA",
         "cifar100_shake_shake26_2x32d_randaugment_isda"),
        ("isda", 5, "ISDA + Dropout", "Wide-ResNet-28-10, CIFAR-10",
         "cifar10_wide_resnet28_10_isda"),
        ("isda", 5, "Basic + Dropout", "ResNet-110, CIFAR-10", None),
        ("isda", 5, "Focal Loss", "ResNet-110, CIFAR-10", None),
        ("isda", 5, "Basic", "ResNet-110, CIFAR-10", "cifar10_resnet110"),
        ("isda", 8, "Constant λ0", "CIFAR-100 + Cutout",
         "cifar100_wide_resnet28_10_cutout_isda_constant"),
        ("isda", 8, "Single covariance matrix", "CIFAR-10", "cifar10_wide_resnet28_10_isda_shared"),
        ("isda-neurips", 1, "DenseNet-BC-190-40 + ISDA", "CIFAR-100",
         "cifar100_densenet_bc190_40_isda"),
        ("isda-neurips", 4, "ResNet-50", "Top-1", None),
        ("ait", 1, "CIFAR-10, Resnet32", "Baseline", "cifar10_resnet32_single"),
        ("isda", 2, "ResNet-32", "Params", None),
    ],
)  # fmt: skip
def test_cells_lead_to_recipes(paper, table, row, column, expected):
    (number,) = find_published(paper, table, row=row, column=column)
    assert recipe_of(number) == expected


def test_both_directions_agree():
    told = {number: name for name in RECIPES for number in cells_of(name)}
    assert told == {number: recipe_of(number) for number in load_published() if recipe_of(number)}


def test_recipes_without_a_cell_have_none():
    assert cells_of("digits_resnet8") == ()
    assert cells_of("cifar100_wide_resnet28_10_cutout_explicit5") == ()


def test_unknown_recipe_is_named():
    with pytest.raises(ValueError, match="cells_of: unknown recipe 'cifar10_resnet33'; did you me"):
        cells_of("cifar10_resnet33")
