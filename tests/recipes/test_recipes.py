"""Tests of semaug.recipes."""

import json
import re
from dataclasses import replace
from importlib import import_module
from itertools import chain

import pytest
import timm

import semaug.networks  # noqa: F401 (registers ours)
from semaug.data import DATA_SETS
from semaug.recipes import (
    RECIPES,
    SINGLE_RECIPES,
    TABLES,
    Loss,
    describe_recipe,
    find_recipe,
)


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_names_what_exists(name):
    recipe = find_recipe(name)
    assert recipe.data in DATA_SETS
    assert timm.is_model(recipe.network)
    assert describe_recipe(name).endswith(".")


@pytest.mark.parametrize("name", [name for name in RECIPES if re.search("_(isda|explicit)", name)])
def test_what_augments_features_differs_from_its_baseline_in_the_loss_alone(name):
    baseline = find_recipe(re.sub("_(isda|explicit).*", "", name))
    assert baseline.loss == Loss("cross_entropy")
    assert find_recipe(name).loss.name in ("isda", "explicit")
    assert replace(find_recipe(name), loss=baseline.loss) == baseline


def test_no_name_stands_twice():
    assert len(set(RECIPES)) == len(RECIPES)
    assert set(RECIPES) == {*SINGLE_RECIPES, *chain.from_iterable(TABLES.values())}


def test_no_recipe_has_two_names():
    names = {}
    for name in RECIPES:
        plain = json.dumps(find_recipe(name).as_plain_data(), sort_keys=True)
        names.setdefault(plain, []).append(name)
    assert [same for same in names.values() if len(same) > 1] == []


def test_the_small_protocol_trains_on_500_images_of_each_class():
    recipe = find_recipe("cifar10_5k_resnet20")
    assert (recipe.subset.train_per_class, recipe.subset.test_images) == (500, None)


def test_unknown_recipe_is_named():
    with pytest.raises(ValueError, match="unknown recipe 'cifar_resnet32'; did you mean 'cifar10"):
        find_recipe("cifar_resnet32")


ON_CIFAR = {
    "augment": {
        "cutmix": 0.0,
        "cutout": 0,
        "flip": True,
        "grayscale": 0.0,
        "image_size": None,
        "jitter": [],
        "mixup": 0.0,
        "padding": 4,
        "padding_mode": "zero",
        "policy": None,
        "randaugment_magnitude": None,
        "randaugment_ops": None,
        "whitening": False,
    },
    "batch_size": 128,
    "block_drop_rate": None,
    "channels_last": "auto",
    "clip_norm": None,
    "compile": False,
    "data": "cifar10",
    "deterministic": False,
    "ema_decay": None,
    "epochs": 160,
    "evaluate_every_epochs": 1,
    "evaluation_batch_size": 1000,
    "loss": {
        "covariance": None,
        "memory": None,
        "name": "cross_entropy",
        "num_samples": None,
        "ramp": None,
        "strength": None,
    },
    "lr": 0.1,
    "lr_factor": 0.1,
    "method": {
        "ai_convention": None,
        "ai_layer": None,
        "ai_metric": None,
        "ai_target_gradient": None,
        "ai_weight": None,
        "name": "supervised",
        "peer_weight_decay": [],
        "peers": [],
        "view_augments": [],
        "views": None,
    },
    "milestones_percent": [50.0, 75.0],
    "momentum": 0.9,
    "nesterov": True,
    "network": "resnet32_cifar",
    "precision": "auto",
    "schedule": "step",
    "subset": {
        "corrupt_percent": None,
        "hold_out": None,
        "imbalance": None,
        "subset_seed": 0,
        "test_images": None,
        "train_per_class": None,
        "train_percent": None,
    },
    "sync_batch_norm": False,
    "warmup_epochs": 0.0,
    "weight_decay": 1e-4,
}

ISDA = {
    "covariance": "full",
    "memory": None,
    "name": "isda",
    "num_samples": None,
    "ramp": "linear",
    "strength": 0.5,
}


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("cifar10_resnet32", {}),
        ("cifar100_resnet32", {"data": "cifar100"}),
        (
            "cifar10_5k_resnet20",
            {
                "network": "resnet20_cifar",
                "subset": ON_CIFAR["subset"] | {"train_per_class": 500},
                "epochs": 100,
                "evaluate_every_epochs": 20,
            },
        ),
        (
            "cifar100_wide_resnet28_10_cutout_isda",
            {
                "data": "cifar100",
                "network": "wide_resnet28_10_cifar",
                "block_drop_rate": 0.3,
                "loss": ISDA,
                "augment": ON_CIFAR["augment"] | {"cutout": 8},
                "epochs": 240,
                "milestones_percent": [25.0, 50.0, 100 * 160 / 240, 100 * 200 / 240],
                "lr_factor": 0.2,
                "weight_decay": 5e-4,
            },
        ),
        (
            "imagenet_resnet50_isda",
            {
                "data": "imagenet",
                "network": "resnet50",
                "loss": ISDA | {"strength": 7.5, "covariance": "diagonal"},
                "augment": ON_CIFAR["augment"] | {"image_size": 224, "padding": 0},
                "epochs": 300,
                "batch_size": 512,
                "evaluation_batch_size": 256,
                "lr": 0.2,
                "schedule": "cosine",
            },
        ),
        (
            "cifar100_resnet32_wide_resnet28_10_multi_ait",
            {
                "data": "cifar100",
                "nesterov": False,
                "method": ON_CIFAR["method"]
                | {
                    "name": "multi_ait",
                    "ai_weight": 3.0,
                    "ai_target_gradient": True,
                    "peers": ["wide_resnet28_10_cifar"],
                    "peer_weight_decay": [5e-4],
                },
            },
        ),
    ],
)
def test_no_recipe_changes_unnoticed(name, changes):
    """Runs on disk belong to these values."""
    assert find_recipe(name).as_plain_data() == ON_CIFAR | changes


@pytest.mark.parametrize("name", SINGLE_RECIPES)
def test_every_file_tells_how_to_run_it_and_where_its_result_is(name):
    header = import_module(f"semaug.recipes.{name}").__doc__
    assert f"Run:     semaug train {name} seed=0" in header
    own_images = find_recipe(name).data == "folder"
    assert ("Result:  none" if own_images else "Result:  see results/README.md") in header
