"""Tests of semaug.published.places."""

from dataclasses import replace

import pytest

from semaug.generation import GeneratedMethod
from semaug.published import find_published, load_published
from semaug.published.places import Entry, cells_of, entry_of, recipe_of
from semaug.recipes import find_recipe, recipe_names, split_name
from semaug.registry import data_sets, generators, losses, networks

METHODS = {"cutout": "cutout", "rand_augment": "randaugment", "auto_augment": "autoaugment"}
WRN = "wide_resnet28_10"
OWN = {"cross_entropy", "isda", "dropout"}  # methods of Table 5 that are here


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
        assert data_sets.name_of(recipe.data) == number.data
        assert networks.name_of(recipe.network) == number.network
        assert (losses.name_of(recipe.loss) == "isda") == ("isda" in number.method)
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
        ("isda", 5, "ISDA + Dropout", "Wide-ResNet-28-10, CIFAR-10", f"cifar10_{WRN}_isda"),
        ("isda", 5, "Basic + Dropout", "ResNet-110, CIFAR-10",
         "cifar10_resnet110,block_drop_rate=0.3"),
        ("isda", 5, "ISDA + Dropout", "ResNet-110, CIFAR-100",
         "cifar100_resnet110_isda,block_drop_rate=0.3"),
        ("isda", 5, "Basic + Dropout", "Wide-ResNet-28-10, CIFAR-100", f"cifar100_{WRN}"),
        ("isda-neurips", 3, "ISDA + Dropout", "ResNet-110, CIFAR-10",
         "cifar10_resnet110_isda,block_drop_rate=0.3"),
        ("isda", 5, "Focal Loss", "ResNet-110, CIFAR-10", "cifar10_resnet110,loss=focal"),
        ("isda", 5, "Disturb Label", "ResNet-110, CIFAR-100",
         "cifar100_resnet110,loss=disturb_label,rate=0.1"),
        ("isda", 5, "Label Smoothing", "Wide-ResNet-28-10, CIFAR-10",
         f"cifar10_{WRN},label_smoothing=0.1"),
        ("isda", 5, "Large Margin", "Wide-ResNet-28-10, CIFAR-100",
         f"cifar100_{WRN},anneal_minimum=1,anneal_percent=25,loss=large_margin"),
        ("isda-neurips", 3, "Center Loss", "ResNet-110, CIFAR-100",
         "cifar100_resnet110,loss=center"),
        ("isda", 5, "Basic", "ResNet-110, CIFAR-10", "cifar10_resnet110"),
        ("isda", 8, "Constant λ0", "CIFAR-100 + Cutout",
         f"cifar100_{WRN}_cutout_isda,ramp=constant"),
        ("isda", 8, "Single covariance matrix", "CIFAR-10",
         f"cifar10_{WRN}_isda,covariance=shared"),
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


@pytest.mark.parametrize(("paper", "table", "cells"), [("isda", 5, 12), ("isda-neurips", 3, 12)])
def test_basic_and_isda_have_recipes_with_and_without_dropout(paper, table, cells):
    own = [n for n in errors_of(paper, table) if {*n.method.split("+")} <= OWN]
    assert len(own) == cells
    for number in own:
        recipe = find_recipe(recipe_of(number))
        dropped = "dropout" in number.method or number.network == f"{WRN}_cifar"
        assert recipe.network.block_drop_rate == (0.3 if dropped else None)
        assert (losses.name_of(recipe.loss) == "isda") == ("isda" in number.method)
        assert networks.name_of(recipe.network) == number.network


GENERATORS = {"wgan", "cgan", "acgan", "infogan"}


def test_generators_of_table_5_are_recipes_and_their_images_change_a_baseline_alone():
    numbers = [n for n in errors_of("isda", 5) if n.method in GENERATORS]
    assert len(numbers) == 14
    for number in numbers:
        entry = entry_of(number)
        recipe, baseline = find_recipe(entry.recipe), find_recipe(entry.baseline)
        own = recipe.method.generator
        assert own == f"{number.data}_{number.method}"
        assert generators.name_of(find_recipe(own).generator) == number.method
        assert find_recipe(own).data == recipe.data
        assert recipe == replace(baseline, method=GeneratedMethod(generator=own))


def test_every_loss_of_table_5_has_its_recipe_and_its_baseline():
    numbers = [n for n in errors_of("isda", 5) if n.method not in GENERATORS]
    assert len(numbers) == 54 - 14
    for number in numbers:
        entry = entry_of(number)
        recipe = find_recipe(entry.recipe)
        loss = losses.name_of(recipe.loss)
        expected = number.method if number.method in losses.names() else "cross_entropy"
        assert loss == ("isda" if "isda" in number.method else expected)
        assert (getattr(recipe.loss, "label_smoothing", 0) == 0.1) == (
            number.method in ("label_smoothing", "distribution_net")
        )
        if entry.baseline is None:
            assert loss == "cross_entropy"
            continue
        baseline = find_recipe(entry.baseline)
        assert losses.name_of(baseline.loss) == "cross_entropy"
        assert baseline.loss.label_smoothing == 0
        dropped = (recipe.network.block_drop_rate, baseline.network.block_drop_rate)
        assert dropped[0] == dropped[1] or number.method == "dropout"
    rates = {n: find_recipe(recipe_of(n)).loss.rate for n in numbers if n.method == "disturb_label"}
    assert {n.column for n, rate in rates.items() if rate == 0.1} == {"ResNet-110, CIFAR-100"}
    assert set(rates.values()) == {0.05, 0.1}


def test_columns_of_segmentation_are_tests_with_several_scales():
    numbers = [n for n in find_published("isda", 7) if n.metric == "miou_percent"]
    assert len(numbers) == 15
    for number in numbers:
        name = recipe_of(number)
        if number.method == "cross_entropy_by_others":
            assert name is None
            continue
        assert number in cells_of(name)
        assert entry_of(number).metric == "miou"
        recipe = find_recipe(name)
        assert networks.name_of(recipe.network) == number.network
        several = number.column != "Single Scale"
        assert recipe.evaluation.scales == ((0.75, 1, 1.25, 1.5) if several else (1,))
        assert recipe.evaluation.mirror == number.column.endswith("Flip")
        assert (losses.name_of(recipe.loss) == "isda") == (number.method == "isda")


def test_both_directions_agree():
    told = {number: recipe_of(number) for number in load_published() if recipe_of(number)}
    assert {number: name for name in set(told.values()) for number in cells_of(name)} == told
    assert {split_name(name)[0] for name in told.values()} <= set(recipe_names())


def test_recipes_without_a_cell_have_none():
    assert cells_of("digits_resnet8") == ()
    assert cells_of(f"cifar100_{WRN}_cutout,loss=explicit,num_samples=5,strength=0.5") == ()


def test_unknown_recipe_is_named():
    with pytest.raises(ValueError, match="unknown recipe 'cifar10_resnet33'; did you mean"):
        cells_of("cifar10_resnet33")


# AIT.


def entries(table, *rows):
    numbers = [
        number for number in find_published("ait", table) if number.row in (rows or [number.row])
    ]
    return [entry_of(number) for number in numbers if number.metric.endswith("accuracy_percent")]


def test_every_accuracy_of_ait_is_what_its_recipe_leaves_of_an_error():
    for table in range(1, 6):
        assert entries(table)
        for entry in entries(table):
            assert entry.recipe is not None
            assert entry.accuracy
            measure = entry.measure
            assert (measure.name.endswith("accuracy"), measure.better) == (True, "higher")


def test_two_networks_are_two_predictors_of_a_run():
    *_, first, second = entries(2, "MobileNetV2, WRN-28-10")
    decay, peers = "peer_weight_decay=0.0005", f"peers={WRN}_cifar"
    name = f"cifar100_mobilenetv2_relu_single,method=multi_ait,{decay},{peers}"
    assert first.recipe == second.recipe == name
    assert (first.predictor, second.predictor) == ("", "network 2")
    recipe = find_recipe(name)
    assert networks.name_of(recipe.network) == "mobilenetv2_relu_cifar"
    assert (recipe.optimizer.weight_decay, recipe.method.peer_weight_decay) == (1e-4, (5e-4,))
    assert recipe.batch_size == 128
    (name,) = {entry.recipe for entry in entries(2, "Resnet32, Resnet32") if "DML" in entry.column}
    assert name == "cifar100_resnet32_single,method=dml,peers=resnet32_cifar"
    assert find_recipe(name).method.ai_weight == 1


def test_corrupted_labels_and_parts_are_changes():
    names = [entry.recipe for entry in entries(3)]
    assert {find_recipe(name).subset.corrupt_percent for name in names} == {20, 50, 80}
    names = [entry.recipe for entry in entries(4)]
    assert {find_recipe(name).subset.train_percent for name in names} == {10, 30, 50}
    assert "cifar100_resnet32_ait,corrupt_percent=80" in [entry.recipe for entry in entries(3)]
    assert {(entry.metric, entry.measure.name) for entry in entries(4)} == {
        ("error", "accuracy"), ("top5_error", "top5_accuracy"),
    }  # fmt: skip


def test_augmentations_are_changes_and_their_columns_are_test_sets():
    found = {entry.row: entry for entry in entries(5)}
    last = found["rg,rc"]
    assert last.recipe == (
        "cifar100_resnet32_ait,grayscale=0.1,jitter=0.1,0.1,0.1,padding=0,view_augments=rg,rc"
    )
    assert (last.test_set, found["rp"].recipe) == ("random_color", "cifar100_resnet32_ait")
    cropped = {entry.recipe for entry in entries(5, "rp")}
    assert cropped == {"cifar100_resnet32_single", "cifar100_resnet32_ait"}
    heavy = find_recipe(found["rpgc"].recipe).augment
    assert (heavy.padding, heavy.grayscale, heavy.jitter) == (4, 0.1, (0.1, 0.1, 0.1))
    plain = find_recipe(found["rh"].recipe).augment
    assert (plain.padding, plain.grayscale, plain.jitter, plain.flip) == (0, 0, (), True)


# What is shown.


def test_metrics_say_which_way_is_better():
    told = {
        metric: (measure.name, measure.unit, measure.better)
        for metric in ("error", "top5_error", "miou")
        for measure in [Entry("", "", None, metric).measure]
    }
    assert told == {
        "error": ("error", "%", "lower"),
        "top5_error": ("top5_error", "%", "lower"),
        "miou": ("miou", "%", "higher"),
    }
