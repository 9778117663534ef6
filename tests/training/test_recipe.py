"""Tests of semaug.training.recipe."""

import json
from dataclasses import replace
from typing import get_args, get_type_hints

import pytest

from semaug.covariance import KINDS
from semaug.training.recipe import Loss, Recipe


@pytest.fixture
def recipe():
    return Recipe(data="digits", network="resnet8_cifar", epochs=30)


def test_isda_states_the_options_that_were_left_out():
    assert Loss("isda", strength=0.5) == Loss("isda", 0.5, ramp="linear", covariance="full")


def test_every_kind_of_covariance_has_its_word():
    hint = get_type_hints(Loss)["covariance"]
    assert get_args(get_args(hint)[0]) == KINDS


@pytest.mark.parametrize(
    "option", [{"strength": 0.5}, {"ramp": "linear"}, {"covariance": "full"}, {"memory": 0.9}]
)
def test_options_without_effect_are_refused(option):
    with pytest.raises(
        ValueError, match=f"`{next(iter(option))}` has no effect on the loss 'cross"
    ):
        Loss("cross_entropy", **option)


def test_unknown_loss_is_named():
    with pytest.raises(ValueError, match="unknown loss 'idsa'; did you mean 'isda'"):
        Loss("idsa")


@pytest.mark.parametrize("strength", [None, -1, float("nan"), float("inf")])
def test_isda_needs_a_strength(strength):
    with pytest.raises(ValueError, match="expected `strength` >= 0 for ISDA, got"):
        Loss("isda", strength=strength)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0),
        ("batch_size", 0),
        ("evaluate_every_epochs", 0),
        ("evaluation_batch_size", 0),
        ("train_per_class", 0),
        ("test_images", 0),
        ("lr", 0.0),
        ("lr", float("nan")),
        ("lr_factor", -1.0),
        ("momentum", 1.0),
        ("weight_decay", -1.0),
        ("padding", -1),
        ("milestones_percent", (75.0, 50.0)),
        ("milestones_percent", (50.0, 100.0)),
    ],
)
def test_numbers_out_of_range_are_named(recipe, name, value):
    with pytest.raises(ValueError, match=rf"recipe: expected `{name}` .*, got"):
        replace(recipe, **{name: value})


def test_nesterov_needs_momentum(recipe):
    with pytest.raises(ValueError, match="expected `nesterov` with momentum > 0"):
        replace(recipe, momentum=0.0)


def test_the_last_ten_epochs_are_evaluated_and_few_before(recipe):
    recipe = replace(recipe, evaluate_every_epochs=8)
    evaluated = [epoch for epoch in range(1, 31) if recipe.is_evaluated(epoch)]
    assert evaluated == [8, 16, *range(21, 31)]


def test_plain_data_is_what_json_gives_back(recipe):
    plain = recipe.as_plain_data()
    assert json.loads(json.dumps(plain)) == plain
    assert plain["milestones_percent"] == [50.0, 75.0]
    assert plain["loss"]["name"] == "cross_entropy"
