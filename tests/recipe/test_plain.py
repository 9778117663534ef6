"""Tests of semaug.recipe.plain."""

import json
from dataclasses import dataclass, replace
from typing import Any

import pytest

from semaug.errors import UserError
from semaug.recipe import Recipe
from semaug.recipe.plain import (
    flat_options,
    outside_names,
    recipe_from_plain_data,
    recipe_to_plain_data,
)
from semaug.recipes import find_recipe, recipe_names
from semaug.registry import choice, data_sets


@dataclass(frozen=True, kw_only=True)
class Turned:
    """Another data set, turned.

    Args:
        images: What is turned.
        masks: The same, if there are any.
        angle: In degrees.
    """

    images: Any = choice(data_sets, "digits")
    masks: Any = choice(data_sets, None)
    angle: Any = 90


TURNED = f"{__name__}:Turned"


@pytest.fixture
def recipe():
    return Recipe(data=Turned(), network="resnet8_cifar", metrics=("error", "miou"), epochs=3)


def test_every_recipe_is_what_its_plain_data_say():
    for name in recipe_names():
        recipe = find_recipe(name)
        plain = recipe_to_plain_data(recipe)
        assert json.loads(json.dumps(plain)) == plain
        assert recipe_from_plain_data(plain) == recipe


def test_specs_have_their_name_beside_their_options(recipe):
    plain = recipe_to_plain_data(recipe)
    assert plain["kind"] == "train"
    assert plain["data"] == {
        "name": TURNED, "images": {"name": "digits"}, "masks": None, "angle": 90,
    }  # fmt: skip
    assert plain["metrics"] == [{"name": "error"}, {"name": "miou", "ignore_index": None}]
    assert recipe_from_plain_data(plain) == recipe
    assert [*outside_names(plain)] == [TURNED]


def test_what_is_absent_has_its_default(recipe):
    plain = recipe_to_plain_data(recipe)
    del plain["ema_decay"], plain["data"]["angle"], plain["schedule"]
    assert recipe_from_plain_data(plain) == recipe


def test_options_are_told_at_one_level(recipe):
    flat = flat_options(recipe_to_plain_data(recipe))
    assert flat["data"] == TURNED
    assert flat["data.images"] == "digits"
    assert flat["data.masks"] is None
    assert flat["optimizer.lr"] == 0.1


@pytest.mark.parametrize("angle", [float("nan"), {1, 2}])
def test_what_json_cannot_hold_is_named(recipe, angle):
    with pytest.raises(UserError, match="recipe: expected options that JSON can hold: "):
        recipe_to_plain_data(replace(recipe, data=Turned(angle=angle)))


def test_unknown_fields_are_named(recipe):
    plain = recipe_to_plain_data(recipe)
    for place in (plain, plain["schedule"]):
        place["future"] = 1
        with pytest.raises(UserError, match="expected fields that this version knows, got future"):
            recipe_from_plain_data(plain)
        del place["future"]


def test_code_is_not_loaded_by_reading(recipe):
    plain = recipe_to_plain_data(recipe)
    plain["data"]["images"] = {"name": "antigravity:Images"}
    with pytest.raises(UserError, match="antigravity: expected code that was executed before"):
        recipe_from_plain_data(plain)
