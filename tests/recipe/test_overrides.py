"""Tests of semaug.recipe.overrides."""

from dataclasses import fields

import pytest

from semaug.errors import UserError
from semaug.recipe.overrides import (
    _SYNONYMS,
    describe_fields,
    describe_overrides,
    override,
    split_overrides,
)
from semaug.recipes import Augment, Loss, Method, Recipe, Subset, find_recipe


def change(*texts, recipe="digits_resnet8_isda"):
    return override(find_recipe(recipe), split_overrides(texts))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("epochs=7", 7),
        ("lr=1e-2", 0.01),
        ("lr=1", 1.0),
        ("nesterov=False", False),
        ("schedule=step", "step"),
        ("network=resnet20_cifar", "resnet20_cifar"),
        ("milestones_percent=30,60,90", (30.0, 60.0, 90.0)),
        ("train_per_class=12", 12),
        ("train_per_class=none", None),
        ("channels_last=true", True),
        ("channels_last=auto", "auto"),
        ("precision=32", "32"),
        ("subset.hold_out=50", 50),
        ("jitter=0.4,0.4,0.4,0.1", (0.4, 0.4, 0.4, 0.1)),
        ("jitter=none", ()),
        ("policy=autoaugment_svhn", "autoaugment_svhn"),
        ("policy=none", None),
        ("cutout=8", 8),
        ("ema_decay=0.999", 0.999),
    ],
)
def test_values_are_read_by_the_type_of_their_field(text, value):
    recipe, name = change(text), text.partition("=")[0].rpartition(".")[2]
    (actual,) = (
        getattr(group, name)
        for group in (recipe, recipe.augment, recipe.subset)
        if hasattr(group, name)
    )
    assert actual == value
    assert type(actual) is type(value)


@pytest.mark.parametrize("name", ["strength", "loss.strength"])
def test_options_of_the_loss_are_reached_both_ways(name):
    assert change(f"{name}=0.3").loss == Loss("isda", strength=0.3)


@pytest.mark.parametrize("name", ["loss", "loss.name"])
def test_another_loss_drops_the_options_of_the_old_one(name):
    assert change(f"{name}=cross_entropy").loss == Loss("cross_entropy")
    assert change("loss=isda", "strength=0.3", recipe="digits_resnet8").loss.strength == 0.3


@pytest.mark.parametrize(
    ("changes", "kept"),
    [
        ({"lr": "1e-1"}, {}),
        ({"lr": "100%", "epochs": "3"}, {"epochs": "3"}),
        ({"loss": "isda", "strength": "0.25"}, {"strength": "0.25"}),
        # An option that the former loss had too is no default of another one.
        (
            {"loss": "explicit", "strength": "0.5", "num_samples": "3"},
            {"loss": "explicit", "strength": "0.5", "num_samples": "3"},
        ),
    ],
)
def test_changes_that_change_nothing_are_left_out(changes, kept):
    base = find_recipe("digits_resnet8_isda")
    assert describe_overrides(override(base, changes), changes, base) == kept


def test_each_field_is_listed_once():
    with pytest.raises(UserError) as error:
        split_overrides(["qqqqqq=1"])
    names = str(error.value).partition("choose from ")[2].split(", ")
    assert "cutmix" in names
    assert len(names) == len({name.rpartition(".")[2] for name in names})
    with pytest.raises(UserError, match=r"did you mean 'loss.strength'"):
        split_overrides(["loss.strenght=1"])


def test_option_without_effect_is_refused():
    with pytest.raises(ValueError, match="`strength` has no effect on the loss 'cross_entropy'"):
        change("strength=0.3", recipe="digits_resnet8")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epochs=fast", "expected `epochs` to be a whole number, got 'fast'"),
        ("epochs=1.5", "expected `epochs` to be a whole number, got '1.5'"),
        ("lr=fast", "expected `lr` to be a number, got 'fast'"),
        ("flip=maybe", "expected `flip` to be 'true' or 'false', got 'maybe'"),
        ("schedule=linear", "expected `schedule` to be 'step' or 'cosine', got 'linear'"),
        ("train_per_class=few", "`train_per_class` to be a whole number or 'none', got 'few'"),
        ("milestones_percent=50;75", "to be numbers with commas between, got '50;75'"),
        ("ramp=cubic", "expected `ramp` to be 'linear' or 'constant' or 'none', got 'cubic'"),
        ("loss=idsa", "unknown loss 'idsa'; did you mean 'isda'"),
        ("lr=-1", "expected `lr` > 0, got -1"),
        ("epochs", "expected `field=value`, such as epochs=20, got 'epochs'"),
        ("epochs=", "expected `field=value`, such as epochs=20, got 'epochs='"),
        ("=3", "expected `field=value`, such as epochs=20, got '=3'"),
        ("epoch=3", "unknown field 'epoch'; did you mean 'epochs'?"),
        ("subset=3", "expected a field, got the group 'subset'; its fields: train_per_class, hold"),
        ("learning_rate=3", "unknown field 'learning_rate'; did you mean 'lr'?"),
        ("loss.strenth=3", "unknown field 'loss.strenth'; did you mean 'loss.strength'?"),
    ],
)
def test_mistakes_are_named(text, message):
    with pytest.raises(ValueError, match="recipe: ") as error:
        change(text)
    assert message in str(error.value)


def test_another_policy_drops_the_options_of_the_old_one():
    on = change("policy=randaugment", "randaugment_magnitude=14")
    assert (on.augment.randaugment_ops, on.augment.randaugment_magnitude) == (2, 14)
    off = override(on, {"policy": "autoaugment_cifar10"}).augment
    assert (off.randaugment_ops, off.randaugment_magnitude) == (None, None)


def test_every_field_is_described_by_name():
    told = describe_fields()
    assert told["loss"] == "Name of the loss, see semaug list losses."
    assert all(len(text) > 10 and "`" not in text for text in told.values())
    for name in told:
        assert split_overrides([f"{name}=x"]) == {name: "x"}


def test_huge_numbers_are_written_shortly():
    changes = split_overrides(["lr=1e30"])
    assert describe_overrides(override(find_recipe("digits_resnet8"), changes), changes) == {
        "lr": "1e+30"
    }


def test_no_two_groups_share_the_name_of_a_field():
    names = [field.name for group in (Recipe, Augment, Loss, Subset) for field in fields(group)]
    assert len(names) == len(set(names))


def test_a_field_is_changed_once():
    with pytest.raises(ValueError, match="expected `strength` once, got it twice"):
        change("strength=1", "loss.strength=2")


def test_synonyms_lead_to_fields_that_exist():
    groups = (Recipe, Augment, Loss, Method, Subset)
    known = {field.name for data in groups for field in fields(data)}
    assert {name for meant in _SYNONYMS.values() for name in meant.split(" or ")} <= known
    assert known.isdisjoint(_SYNONYMS)


def test_a_synonym_of_several_fields_names_them_all():
    with pytest.raises(UserError, match="field 'lambda'; did you mean 'strength' or 'ai_weight'"):
        split_overrides(["lambda=2"])


def test_however_a_value_is_given_it_is_written_in_one_way():
    changes = split_overrides(["lr=2e-1", "loss.strength=.50", "channels_last=TRUE", "epochs=07"])
    recipe = override(find_recipe("digits_resnet8_isda"), changes)
    assert describe_overrides(recipe, changes) == {
        "lr": "0.2",
        "strength": "0.5",
        "channels_last": "true",
        "epochs": "7",
    }


def test_numbers_may_be_a_part_of_what_they_were():
    recipe = find_recipe("cifar10_5k_resnet20_long")
    changed = override(recipe, {"epochs": "30%", "lr": "50%", "train_per_class": "20%"})
    assert (changed.epochs, changed.lr, changed.subset.train_per_class) == (60, 0.05, 100)
    # The same folder as for the number itself.
    assert describe_overrides(changed, {"epochs": "30%"}) == {"epochs": "60"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": "33.3%"}, "expected a whole number as `epochs`, got 33.3% of 200, 66.6"),
        ({"epochs": "a%"}, "expected `epochs` to be percent, such as 50%, got 'a%'"),
        ({"epochs": "1/0%"}, "expected `epochs` to be percent, such as 50%, got '1/0%'"),
        ({"network": "50%"}, "expected `network` to be a number in this recipe"),
        ({"clip_norm": "50%"}, "for 50% of it, got none"),
        ({"nesterov": "50%"}, "for 50% of it, got true"),
    ],
)
def test_parts_of_what_is_no_number_are_refused(change, message):
    with pytest.raises(UserError) as error:
        override(find_recipe("cifar10_5k_resnet20_long"), change)
    assert message in str(error.value)
