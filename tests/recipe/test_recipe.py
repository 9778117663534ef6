"""Tests of semaug.recipe.recipe."""

import json
from dataclasses import replace

import pytest

from semaug.recipe.recipe import Augment, Recipe


@pytest.fixture
def recipe():
    return Recipe(data="digits", network="resnet8_cifar", epochs=30)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0),
        ("batch_size", 0),
        ("evaluate_every_epochs", 0),
        ("evaluation_batch_size", 0),
        ("lr", 0.0),
        ("lr", float("nan")),
        ("lr_factor", -1.0),
        ("momentum", 1.0),
        ("weight_decay", -1.0),
        ("block_drop_rate", 1.0),
        ("warmup_epochs", 30.0),
        ("clip_norm", 0.0),
        ("ema_decay", 1.0),
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


def test_mixing_needs_a_partner(recipe):
    with pytest.raises(ValueError, match="expected `batch_size` > 1 to mix images, got 1"):
        replace(recipe, batch_size=1, augment=Augment(mixup=0.2))


def test_the_last_ten_epochs_are_evaluated_and_few_before(recipe):
    recipe = replace(recipe, evaluate_every_epochs=8)
    evaluated = [epoch for epoch in range(1, 31) if recipe.is_evaluated(epoch)]
    assert evaluated == [8, 16, *range(21, 31)]


def test_plain_data_is_what_json_gives_back(recipe):
    plain = recipe.as_plain_data()
    assert json.loads(json.dumps(plain)) == plain
    assert plain["milestones_percent"] == [50.0, 75.0]
    assert plain["loss"]["name"] == "cross_entropy"
