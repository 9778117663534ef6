"""Tests of semaug.recipes."""

import json
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest

from semaug.errors import UserError
from semaug.losses import CrossEntropy, SemanticConsistency
from semaug.recipe.overrides import override
from semaug.recipe.plain import recipe_to_plain_data
from semaug.recipes import (
    TABLES,
    describe_recipe,
    find_recipe,
    make_run,
    recipe_names,
    split_name,
)
from semaug.registry import recipes

NAMES = [name for table in TABLES.values() for name in table]


def label(recipe, quick=False, **changes):
    return make_run(recipe, changes, 0, quick, Path("runs")).label


# Recipes.


def test_every_recipe_has_a_twin_that_differs_in_the_loss_alone():
    for table in TABLES.values():
        for name, row in table.items():
            recipe = find_recipe(name)
            assert recipe == row.recipe
            if row.isda is None:
                with pytest.raises(UserError, match=f"unknown recipe '{name}_isda'"):
                    find_recipe(f"{name}_isda")
                continue
            twin = find_recipe(f"{name}_isda")
            assert recipe.loss == CrossEntropy()
            assert twin == override(recipe, {"loss": "isda", **row.isda})
            if hasattr(recipe.method, "unlabeled_loss"):
                assert twin.method.unlabeled_loss == SemanticConsistency(eta1=1.0)
                twin = override(twin, {"unlabeled_loss": "none"})
            assert replace(twin, loss=recipe.loss) == recipe


def test_every_recipe_has_one_line():
    for name in NAMES:
        line = describe_recipe(name)
        assert line.endswith(".")
        if f"{name}_isda" not in recipe_names():
            continue
        assert "cross-entropy" in line
        assert describe_recipe(f"{name}_isda") == line.replace("cross-entropy", "ISDA")


def test_no_recipe_has_two_names():
    assert len(set(NAMES)) == len(NAMES)
    assert set(NAMES) < set(recipe_names())
    names = {}
    for name in recipe_names():
        plain = json.dumps(recipe_to_plain_data(find_recipe(name)), sort_keys=True)
        names.setdefault(plain, []).append(name)
    assert [same for same in names.values() if len(same) > 1] == []


@pytest.mark.parametrize(
    "name", ["ait", "cifar", "digits", "folder", "imagenet", "segmentation", "small"]
)
def test_every_file_tells_how_to_run_it_and_where_its_result_is(name):
    header = import_module(f"semaug.recipes.{name}").__doc__
    lines = {line.partition(":")[0]: line for line in header.splitlines()}
    for start in ("Run", "Result", "Smoke", "Source"):
        assert len(lines[start]) > 15
    assert "semaug" in lines["Run"]
    assert "--quick" in lines["Smoke"]


def test_settings_of_one_recipe_are_those_that_runs_on_disk_have():
    plain = recipe_to_plain_data(find_recipe("cifar100_wide_resnet28_10_cutout_isda"))
    expected = {
        "data": {"name": "cifar100"},
        "network": {"name": "wide_resnet28_10_cifar", "block_drop_rate": 0.3},
        "loss": {"name": "isda", "strength": 0.5, "ramp": "linear", "covariance": "full"},
        "epochs": 240,
        "steps": None,
        "batch_size": 128,
        "report": "mean_last_10",
    }
    for name, value in expected.items():
        found = plain[name]
        assert value == ({key: found[key] for key in value} if isinstance(value, dict) else found)


# Names.


def test_changes_stand_behind_a_name():
    text = "cifar10_resnet32_isda,milestones_percent=50,75,strength=0.25,view=a=b"
    name, changes = split_name(text)
    assert name == "cifar10_resnet32_isda"
    assert changes == {"milestones_percent": "50,75", "strength": "0.25", "view": "a=b"}
    assert split_name("my_recipe.py:center,lr=0.5") == ("my_recipe.py:center", {"lr": "0.5"})
    recipe = find_recipe("digits_resnet8,loss=isda,strength=0.5")
    assert recipe == find_recipe("digits_resnet8_isda")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "cifar_resnet32",
            "semaug: unknown recipe 'cifar_resnet32'; did you mean 'cifar10_resnet32",
        ),
        (
            "digits_resnet9_isda",
            "unknown recipe 'digits_resnet9_isda'; did you mean 'digits_resnet8_is",
        ),
        ("digits_resnet8_isda_isda", "unknown recipe"),
        ("seed=1", "expected the name of a recipe, got the change 'seed=1'"),
        ("digits_resnet8,epoch=3", "unknown field 'epoch'; did you mean 'epochs'?"),
        ("digits_resnet8,epochs=", "expected FIELD=VALUE, such as epochs=20, got 'epochs='"),
        ("json:loads", "json:loads: expected a function without arguments: missing a required"),
        ("json:JSONDecoder", "JSONDecoder: expected a recipe, or a function that returns one, got"),
        ("json:nothing", "json: unknown name 'nothing'"),
    ],
)
def test_names_that_lead_nowhere_are_named(name, message):
    with pytest.raises(UserError) as error:
        find_recipe(name)
    assert message in str(error.value)


def test_the_folder_of_a_run_leads_to_its_recipe(tmp_path):
    (tmp_path / "recipe.json").touch()
    with pytest.raises(
        UserError, match=r"got the folder '.*' of a run; the recipe of this run is "
    ):
        find_recipe(str(tmp_path))


# From outside.

RECIPE = find_recipe("digits_resnet8,epochs=2")


def of_a_function():
    """Digits, briefly."""
    return RECIPE


def of_something_else():
    return 7


def test_recipes_and_functions_of_any_module_are_recipes(monkeypatch):
    for name in ("RECIPE", "of_a_function"):
        place = f"tests.recipes.test_recipes:{name}"
        assert find_recipe(f"{place},lr=0.2") == override(RECIPE, {"lr": "0.2"})
        assert label(place, lr="0.2") == f"{place},lr=0.2"
    with pytest.raises(UserError, match="of_something_else: expected a recipe, or a function that"):
        find_recipe("tests.recipes.test_recipes:of_something_else")
    monkeypatch.setattr(recipes, "_members", dict(recipes._members))
    recipes.register("mine")(of_a_function)
    assert find_recipe("mine") == RECIPE
    assert find_recipe("mine_isda").loss.strength == 0.5
    assert describe_recipe("mine") == "Digits, briefly."


# Runs.


def test_a_run_has_one_folder_however_its_changes_are_given():
    expected = "digits_resnet8,epochs=3,lr=0.2"
    assert label("digits_resnet8", epochs="3", lr="2e-1") == expected
    assert label("digits_resnet8,lr=0.20,epochs=3") == expected
    assert label("digits_resnet8,epochs=3", **{"optimizer.lr": ".2"}) == expected
    assert label("digits_resnet8,epochs=6", epochs="50%", lr="200%") == expected
    assert label("digits_resnet8,epochs=5,lr=0.2", epochs="3") == expected
    assert label("digits_resnet8,epochs=3", epochs="30") == "digits_resnet8"
    assert label("digits_resnet8_isda,strength=0.5") == "digits_resnet8_isda"
    assert label("digits_resnet8,loss=isda,strength=0.5", loss="cross_entropy") == "digits_resnet8"


def test_a_recipe_may_be_an_object():
    run = make_run(RECIPE, {"lr": "0.2"}, 3, False, Path("runs"), name="mine")
    assert run.folder == Path("runs/mine,lr=0.2/seed3")
    assert run.recipe == override(RECIPE, {"lr": "0.2"})


def test_what_stands_behind_a_name_is_shrunk_and_changes_enlarge_again():
    longer = "cifar10_5k_resnet20,epochs=200"
    run = make_run(longer, {}, 0, True, Path("runs"))
    assert (run.recipe.epochs, run.label) == (2, "cifar10_5k_resnet20,quick")
    run = make_run(longer, {"epochs": "4", "lr": "50%"}, 0, True, Path("runs"))
    assert (run.recipe.epochs, run.recipe.optimizer.lr) == (4, 0.05)
    assert run.label == "cifar10_5k_resnet20,quick,epochs=4,lr=0.05"
    assert make_run(longer, {"epochs": "50%"}, 0, True, Path("runs")).recipe.epochs == 2
