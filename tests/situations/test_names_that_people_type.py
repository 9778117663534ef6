"""Options have one name: what the command line takes is what reports and errors say."""

import pytest

from semaug.errors import UserError
from semaug.recipe.overrides import override
from semaug.recipe.plain import recipe_to_plain_data, typed_names
from semaug.recipes import find_recipe
from semaug.report import collect
from semaug.report.compare import check_same_test


def test_fields_of_a_report_can_be_typed(write_run, tmp_path):
    for name in ("digits_resnet8", "digits_resnet8_isda", "digits_resnet8,method=ait"):
        write_run(name, recipe=recipe_to_plain_data(find_recipe(name)))
    (group,) = collect([tmp_path]).groups
    fields = group.differing_fields()
    assert {"loss", "strength", "method", "ai_weight"} <= fields.keys()
    changes = {
        name: str(value)
        for name, values in fields.items()
        for value in values
        if name not in ("loss", "method") and isinstance(value, str | float)
    }
    override(find_recipe("digits_resnet8_isda,method=ait"), changes)


def test_a_name_that_two_groups_have_stays_whole():
    names = ["loss.width", "network.width", "network.depth", "depth"]
    assert list(typed_names(names).values()) == [
        "loss.width",
        "network.width",
        "network.depth",
        "depth",
    ]


@pytest.mark.parametrize(
    ("recipe", "message"),
    [("digits_resnet8,strength=1", "strength"), ("digits_resnet8,lr=fast", "expected `lr` to be")],
)
def test_errors_say_the_name_that_was_typed(recipe, message):
    with pytest.raises(UserError, match=message) as error:
        find_recipe(recipe)
    assert "optimizer.lr" not in str(error.value)
    assert "loss.strength" not in str(error.value)


def test_a_comparison_says_it_too():
    recipes = [find_recipe(f"digits_resnet8,hold_out={n}") for n in (10, 20)]
    with pytest.raises(UserError, match="got hold_out=10 and hold_out=20"):
        check_same_test(*recipes)


def test_names_in_a_title_do_not_depend_on_other_options(write_run, tmp_path):
    """Else runs on the same images would be in two groups."""
    data = {"data": {"name": "my.py:Mine", "noise": 0.5}}
    write_run("a", recipe=data)
    write_run("b", recipe=data | {"loss": {"name": "my.py:Noisy", "noise": 1.0}})
    (group,) = collect([tmp_path]).groups
    assert group.title == "my.py:Mine, noise=0.5"
